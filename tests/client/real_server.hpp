#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "sojourn/base/temporary_folder_test.hpp"

// `sojourn serve` with the apps of the end-to-end tests, as a process of its own.
namespace sojourn::client {

class RealServer {
 public:
  explicit RealServer(std::vector<std::string> flags = {}) : flags_(std::move(flags)) { start(); }
  ~RealServer() { stop(); }
  RealServer(const RealServer&) = delete;
  RealServer& operator=(const RealServer&) = delete;

  const std::string& url() const { return url_; }
  std::filesystem::path folder() const { return folder_.path(); }

  // Starts it, on the port that it had before, if it had one.
  void start() {
    const std::string at = url_.empty() ? "127.0.0.1:0" : url_.substr(url_.find("//") + 2);
    std::vector<std::string> words{
        SOJOURN_PROGRAM,         "serve",    "--apps", SOJOURN_SOURCE "/tests/e2e/apps", "--data",
        folder_.path() / "data", "--listen", at};
    words.insert(words.end(), flags_.begin(), flags_.end());
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);

    int pipe[2];
    ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, pipe[1], 1);
    ::posix_spawn_file_actions_addopen(&actions, 2, (folder_.path() / "log").c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                       0600);
    ASSERT_EQ(::posix_spawn(&pid_, SOJOURN_PROGRAM, &actions, nullptr, pointers.data(), environ), 0);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(pipe[1]);
    std::string line;
    for (char c = 0; ::read(pipe[0], &c, 1) == 1 && c != '\n';) line += c;
    ::close(pipe[0]);
    ASSERT_TRUE(line.starts_with("listening on ")) << line;
    url_ = line.substr(13);
  }

  // Kills it, as a power cut would.
  void kill() { finish(SIGKILL); }
  void stop() { finish(SIGTERM); }

 private:
  void finish(int signal) {
    if (pid_ == 0) return;
    ::kill(pid_, signal);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

  std::vector<std::string> flags_;
  TemporaryFolder folder_;
  std::string url_;
  pid_t pid_ = 0;
};

}  // namespace sojourn::client
