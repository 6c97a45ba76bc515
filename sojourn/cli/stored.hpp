#pragma once

#include <functional>

#include "sojourn/base/async.hpp"
#include "sojourn/cli/settings.hpp"
#include "sojourn/store/store.hpp"

// What commands do with the data folder itself: reading beside a running server or without one, changing without one.
namespace sojourn::cli {

// Opens the data folder's store to be read, hands it to `work` and closes it, whatever comes of that.
// Errors: config_invalid where there is none; those of the store and of `work`.
void read_store(const Settings& settings, const std::function<Async<void>(store::Store&)>& work);

// Likewise, to be changed too. Errors: store_locked where a server has it.
void change_store(const Settings& settings, const std::function<Async<void>(store::Store&)>& work);

}  // namespace sojourn::cli
