#pragma once

#include <map>
#include <memory>
#include <sstream>
#include <string>

#include "sojourn/session/app.hpp"

// An app in C++: it keeps the words it was given in memory, and how many there were in the session's state.
namespace example {

class WordCounter final : public sojourn::session::Worker {
 public:
  sojourn::Async<sojourn::Json> call(sojourn::session::CallScope& scope) override {
    const sojourn::Json* const text =
        scope.request().input.is_object() ? scope.request().input.get_object().if_contains("text") : nullptr;
    if (text == nullptr || !text->is_string()) {
      throw sojourn::Error(sojourn::ErrorCode::invalid_request, "the input is {\"text\": TEXT}");
    }
    std::istringstream stream{std::string(text->get_string())};
    auto total = scope.session().get("total", 0).to_number<std::int64_t>();
    for (std::string word; stream >> word; ++total) ++counts_[word];
    scope.session().set("total", total);  // durable with the answer
    co_return sojourn::JsonObject{{"total", total}, {"different", counts_.size()}};
  }

  sojourn::Async<void> close(sojourn::session::CloseReason, sojourn::Instant) override { co_return; }
  void kill(const sojourn::Error&) override {}  // a call here never waits, so there is nothing to end

 private:
  std::map<std::string, int> counts_;
};

class WordCount final : public sojourn::session::App {
 public:
  const sojourn::session::AppInfo& info() const override { return info_; }

  sojourn::Async<std::unique_ptr<sojourn::session::Worker>> open(sojourn::session::Opening,
                                                                 sojourn::Instant) override {
    co_return std::make_unique<WordCounter>();
  }

 private:
  sojourn::session::AppInfo info_{.name = "word-count",
                                  .version = "1.0.0",
                                  .description = "Counts words.",
                                  .functions = {"count"},
                                  .default_function = "count"};
};

}  // namespace example
