// The one place where Asio and Boost.JSON, used header-only, are compiled.
#include <boost/asio/impl/src.hpp>
#include <boost/json/src.hpp>
