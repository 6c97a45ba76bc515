#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sojourn/base/async.hpp"
#include "sojourn/store/record.hpp"

// The webhooks that a store owes: each from the commit on that made its call final.
namespace sojourn::store {

struct OwedWebhook {
  std::string task_id;
  Webhook webhook;
};

struct OwedWebhooks {
  std::vector<OwedWebhook> due;  // the one due for longest first
  std::optional<Time> next;      // when the first of the others is
};

// Errors, Threads and Cancel: as Store.
class Outbox {
 public:
  virtual ~Outbox() = default;

  // At most `limit` webhooks that are due at `now`, without those to `busy` origins.
  virtual Async<OwedWebhooks> webhooks_owed(Time now, std::size_t limit, std::set<std::string> busy) = 0;

  // Replaces what is known of the task's webhook but its URL and form. Durable: when it returns.
  virtual Async<void> webhook_tried(std::string task_id, Webhook webhook) = 0;

  // How many are waiting or owed, counted up to `most`.
  virtual Async<std::size_t> open_webhooks(std::size_t most) = 0;
};

}  // namespace sojourn::store
