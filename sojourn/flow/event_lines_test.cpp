#include "sojourn/flow/event_lines.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "sojourn/base/error.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/flow/full_disk_test.hpp"

namespace sojourn::flow {
namespace {

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
