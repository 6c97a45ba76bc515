#include <fmt/format.h>

#include <boost/asio/ip/address.hpp>

#include "sojourn/base/error.hpp"
#include "sojourn/cli/commands.hpp"

namespace sojourn::cli {

namespace {

bool is_loopback(const std::string& host) {
  return host == "localhost" || boost::asio::ip::make_address(host).is_loopback();
}

}  // namespace

ExitCode serve(const Settings& settings, Console&) {
  if (!settings.keys && !is_loopback(settings.listen_host)) {
    throw Error(
        ErrorCode::config_invalid,
        fmt::format("{}: {} can be reached by other machines, which takes API keys: name their file by --keys "
                    "FILE (sojourn keys create makes one), or listen on 127.0.0.1",
                    settings.value("listen").source, settings.listen_host));
  }
  throw Error(ErrorCode::unavailable, "the server room is not joined up yet");
}

}  // namespace sojourn::cli
