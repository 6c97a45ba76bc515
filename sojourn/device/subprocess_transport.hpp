#pragma once

#include <memory>

#include "sojourn/device/transport.hpp"

namespace sojourn::device {

// A program whose standard input and output are a REPL. It starts with open(), leads a process group of its own, and
// is killed with it by close(), or by the kernel when the thread that opened it is gone. Its standard error is
// dropped.
std::unique_ptr<Transport> make_subprocess_transport(Executor executor, SubprocessAddress address);

}  // namespace sojourn::device
