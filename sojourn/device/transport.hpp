#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "sojourn/base/async.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/device/address.hpp"

// The wire to a board: bytes there and back, and where the wire allows it a reset by force.
namespace sojourn::device {

// Threads:  one executor.
// Lifetime: close it, and let receive() end, before it is destroyed.
class Transport {
 public:
  virtual ~Transport() = default;

  // Opens the wire; again after it was lost or closed.
  // Errors: connection_failed; worker_leased where another program has it; call_timeout at `deadline`.
  virtual Async<void> open(Instant deadline) = 0;

  // The next bytes; never none. One at a time.
  // Errors: connection_failed once the wire is lost or closed.
  virtual Async<std::string> receive() = 0;

  // Sends `bytes` after all that was sent before, without waiting. What is lost with the wire is told by receive().
  virtual void send(std::string_view bytes) = 0;

  // Whether restart() can help where the board heeds nothing.
  virtual bool can_restart() const { return false; }

  // Restarts the board by force: its process, or the line that resets it. The wire is closed afterwards.
  // Errors: connection_failed.
  virtual Async<void> restart(Instant deadline);

  // Idempotent.
  virtual void close() = 0;
};

// The transport for `address`, not yet open.
std::unique_ptr<Transport> make_transport(Executor executor, Clock& clock, Address address);

}  // namespace sojourn::device
