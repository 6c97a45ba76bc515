// The one place where Beast, used header-only, is compiled.
#include <boost/beast/src.hpp>
