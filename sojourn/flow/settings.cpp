#include "sojourn/flow/settings.hpp"

namespace sojourn::flow {

Config resolve(const Settings& settings) {
  Config config;
  config.timeout = settings.timeout.value_or(config.timeout);
  config.end_on_error = settings.end_on_error.value_or(config.end_on_error);
  config.run_identifier = settings.run_identifier;
  config.record = settings.record.value_or(config.record);
  return config;
}

}  // namespace sojourn::flow
