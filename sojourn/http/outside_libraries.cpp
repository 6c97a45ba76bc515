// The one place where Beast and the TLS part of Asio, used header-only, are compiled.
#include <boost/asio/ssl/impl/src.hpp>
#include <boost/beast/src.hpp>
