#include "sojourn/cli/stored.hpp"

#include <fmt/format.h>

#include <exception>
#include <memory>

#include "sojourn/base/error.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/store/sqlite_store.hpp"

namespace sojourn::cli {

namespace {

std::unique_ptr<store::SqliteStore> open_store(const Settings& settings, store::OpenMode mode) {
  try {
    // Whoever writes would make one where there is none.
    if (mode == store::OpenMode::read_write)
      store::SqliteStore::open({.folder = settings.data, .mode = store::OpenMode::read_only});
    return store::SqliteStore::open({.folder = settings.data, .mode = mode});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    throw Error(ErrorCode::config_invalid,
                fmt::format("there is no store in {} (data: {}): {}", settings.data.string(),
                            settings.value("data").source, error.message()));
  }
}

Async<void> work_and_close(store::Store& store, const std::function<Async<void>(store::Store&)>& work) {
  std::exception_ptr failure;
  try {
    co_await work(store);
  } catch (...) {
    failure = std::current_exception();
  }
  co_await store.close();
  if (failure) std::rethrow_exception(failure);
}

void work_on_store(const Settings& settings, store::OpenMode mode,
                   const std::function<Async<void>(store::Store&)>& work) {
  Loop loop;  // outlives the store, whose calls resume on it
  const std::unique_ptr<store::SqliteStore> store = open_store(settings, mode);
  loop.run(work_and_close(*store, work));
}

}  // namespace

void read_store(const Settings& settings, const std::function<Async<void>(store::Store&)>& work) {
  work_on_store(settings, store::OpenMode::read_only, work);
}

void change_store(const Settings& settings, const std::function<Async<void>(store::Store&)>& work) {
  work_on_store(settings, store::OpenMode::read_write, work);
}

}  // namespace sojourn::cli
