#pragma once

#include "sojourn/http/server.hpp"

// What a server that Sojourn is measured against is made of, besides what it does with a request.
namespace sojourn::bench {

// Serves `handler` on a free port of 127.0.0.1, which it prints as Sojourn does, until SIGTERM or SIGINT.
Async<void> serve_until_stopped(Executor executor, http::Handler handler);

}  // namespace sojourn::bench
