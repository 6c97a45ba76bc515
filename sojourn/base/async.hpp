#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

namespace sojourn {

// What a coroutine returns. It starts when it is awaited or spawned in a TaskGroup, and runs on its executor.
template <class T = void>
using Async = boost::asio::awaitable<T>;

using Executor = boost::asio::any_io_executor;

}  // namespace sojourn
