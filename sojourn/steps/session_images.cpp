#include "sojourn/steps/session_images.hpp"

#include <exception>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/steps/shared_image.hpp"

namespace sojourn::steps {

Async<void> SessionImages::take(std::string id) {
  if (!is_image_id(id) || held_.contains(id)) co_return;
  const auto recorded = std::make_shared<Completion<bool>>();  // shared with the session
  events_.resource_added({.id = id, .kind = "image", .cleanup = {{"shm", "/" + id}}, .recorded = recorded});
  co_await recorded->wait();
  held_.insert(std::move(id));
}

void SessionImages::release_all_but(const std::set<std::string>& ids) {
  std::exception_ptr failure;
  for (const std::string& id : std::exchange(held_, {})) {
    if (ids.contains(id)) {
      held_.insert(id);
      continue;
    }
    try {
      SharedImage::remove(id);
    } catch (const Error&) {
      failure = std::current_exception();
    }
    events_.resource_released(id);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace sojourn::steps
