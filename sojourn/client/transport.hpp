#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/random.hpp"
#include "sojourn/client/options.hpp"
#include "sojourn/http/client.hpp"

// Asks the server: on connections that are kept open, again where that is safe, and with an error of the right code.
//
// What is asked again: anything that surely did not arrive, since no connection was made; what the server refused
// with 429 or 503 and called retryable; and what is safe to do twice also after an answer that did not come or broke
// off. Between two attempts it waits 0.1 s, then twice as long each time, up to 5 s, with jitter, and at least what
// Retry-After says.
namespace sojourn::client {

// How long an operation may take in all, and how long it may be silent.
struct Patience {
  Instant end;
  Milliseconds silence;

  // When what begins at `now` must have come.
  Instant for_next(Instant now) const { return std::min(end, now + silence); }
};

struct Question {
  http::Method method = http::Method::get;
  std::string target;
  std::string body{};
  http::Headers headers{};
  bool is_safe = false;                    // may be done twice
  std::optional<std::string> next_body{};  // in place of `body` from the second attempt on
};

struct Reply {
  Json value;        // null where the answer has no body
  std::string next;  // the target of the next page; "" on the last
};

class Transport;

// An answer whose body is still being read, on a connection that is its own until then.
class Opened {
 public:
  Opened(Transport& transport, std::unique_ptr<http::Client> connection, http::Response head);

  const http::Response& head() const { return head_; }

  // What came of the body, at least one byte; nothing at its end. Errors: connection_failed, call_timeout.
  Async<std::string> read(Instant deadline);

 private:
  Transport* transport_;
  std::unique_ptr<http::Client> connection_;
  http::Response head_;
};

// Threads:  all on its executor, which must not run two things at once; any number of questions side by side.
// Lifetime: outlives its questions and what they opened.
class Transport {
 public:
  // Errors: config_invalid; io_error where TLS is to be spoken and what this machine trusts cannot be read.
  Transport(Executor executor, Clock& clock, Options options);

  // Patience for an operation that may take so long, or as long as the options say.
  Patience patience(std::optional<Milliseconds> timeout = std::nullopt) const;

  // The JSON of the answer.
  // Errors: what the server answers; connection_failed where there was no answer or none of Sojourn's, call_timeout
  //         where none came in time.
  Async<Reply> ask(Question question, Patience patience);

  // The bytes of the answer. Errors: as ask().
  Async<std::string> fetch(Question question, Patience patience);

  // The answer with its body still to be read. Errors: as ask().
  Async<Opened> open(Question question, Patience patience);

  // Waits before attempt number `attempt` (from 1); false where there is to be none, and it waited not at all.
  Async<bool> pause(unsigned attempt, Patience patience, Milliseconds at_least = Milliseconds(0));

  Clock& clock() const { return clock_; }
  const Options& options() const { return options_; }

 private:
  friend class Opened;
  struct Attempt;
  struct Idle {
    Instant since;
    std::unique_ptr<http::Client> connection;
  };

  Async<Attempt> attempt(const Question& question, unsigned number, Patience patience, bool whole);
  Async<Attempt> attempts(Question question, Patience patience, bool whole);
  http::Request encode(const Question& question, unsigned number) const;
  std::unique_ptr<http::Client> borrow();
  void give_back(std::unique_ptr<http::Client> connection);

  Executor executor_;
  Clock& clock_;
  Options options_;
  http::Address address_;
  std::unique_ptr<http::TlsTrust> trust_;  // where the server speaks TLS
  SystemRandom random_;
  std::vector<Idle> idle_;
};

// `text` as one segment of a path, percent-encoded.
std::string path_segment(std::string_view text);

// What a Link header calls the next page, as a target on the same server; "" for none.
std::string next_page(std::string_view link);

}  // namespace sojourn::client
