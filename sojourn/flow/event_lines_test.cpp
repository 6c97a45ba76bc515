#include "sojourn/flow/event_lines.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "sojourn/base/error.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/base/temporary_folder_test.hpp"

namespace sojourn::flow {
namespace {

// No file of this process grows past `bytes` as long as it lives: the disk is full.
class FullDisk {
 public:
  explicit FullDisk(std::uintmax_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit now{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &now);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int) = std::signal(SIGXFSZ, SIG_IGN);
};

std::shared_ptr<const Message> call(CallId id) {
  return std::make_shared<const Message>(
      Message{.offset = id,
              .body = RequestCreation{.call = id,
                                      .node = std::make_shared<const NodeType>("one"),
                                      .input = std::make_shared<const std::string>("[1]")}});
}

TEST(FlowEventLines, HasWholeLinesOnlyAfterTheDiskWasFull) {
  const TemporaryFolder folder;
  SystemRandom random;
  EventLines events(folder.path(), Uuid::draw(random));
  events.write(std::vector{call(0)});
  const auto size = std::filesystem::file_size(events.file());
  {
    // Room for one and a half of the next: each call has two lines of about the same length.
    const FullDisk full(size + size / 2 + size / 4);
    EXPECT_THROW(events.write(std::vector{call(1), call(2)}), Error);
  }
  events.write(std::vector{call(3)});
  std::ifstream file(events.file());
  std::vector<std::string> types;
  for (std::string line; std::getline(file, line);) {
    types.emplace_back(parse_json(line).at("event_type").as_string());
  }
  EXPECT_THAT(types, testing::ElementsAre("node.creation", "node.invocation", "node.creation", "node.creation",
                                          "node.invocation"));
}

}  // namespace
}  // namespace sojourn::flow
