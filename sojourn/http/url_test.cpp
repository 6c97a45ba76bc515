#include "sojourn/http/url.hpp"

#include <gtest/gtest.h>

#include "sojourn/base/error.hpp"
#include "sojourn/http/public_address.hpp"

namespace sojourn::http {

namespace {

TEST(Url, IsTakenApart) {
  const Url url = parse_url("https://example.com:8443/a/b?c=%20&d");
  EXPECT_TRUE(url.is_https);
  EXPECT_EQ(url.host, "example.com");
  EXPECT_EQ(url.port, 8443);
  EXPECT_EQ(url.target, "/a/b?c=%20&d");
  EXPECT_EQ(url.origin(), "https://example.com:8443");
}

TEST(Url, HasUsualPortAndPath) {
  EXPECT_EQ(parse_url("https://h").port, 443);
  EXPECT_EQ(parse_url("http://h").port, 80);
  EXPECT_EQ(parse_url("http://h").target, "/");
  EXPECT_EQ(parse_url("http://h?q").target, "/?q");
  EXPECT_EQ(parse_url("http://[::1]:80/").host, "::1");
  EXPECT_EQ(parse_url("http://[2001:db8::1]").origin(), "http://[2001:db8::1]:80");
}

TEST(Url, IsRefusedInAnyOtherShape) {
  for (const std::string& text : {std::string(""),
                                  std::string("example.com"),
                                  std::string("ftp://h/"),
                                  std::string("//h/"),
                                  std::string("http://"),
                                  std::string("http:///path"),
                                  std::string("http://:80/"),
                                  std::string("http://h:/"),
                                  std::string("http://h:0/"),
                                  std::string("http://h:65536/"),
                                  std::string("http://h:8x/"),
                                  std::string("http://u@h/"),
                                  std::string("http://u:p@h/"),
                                  std::string("http://h/#f"),
                                  std::string("http://h/a b"),
                                  std::string("http://h/\r\nX: y"),
                                  std::string("http://h/\xc3\xa4"),
                                  std::string("http://h\\@i/"),
                                  std::string("http://[::1/"),
                                  std::string("http://[h]/"),
                                  std::string("http://[::1]x/"),
                                  std::string("HTTP://h/"),
                                  "http://h/" + std::string(url_bytes, 'a')}) {
    EXPECT_THROW(parse_url(text), Error) << text;
  }
}

TEST(PublicAddress, IsOneOfTheInternet) {
  for (const char* text : {"8.8.8.8", "1.1.1.1", "172.32.0.1", "192.167.255.255", "100.128.0.1", "223.255.255.255",
                           "2606:4700:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8"}) {
    EXPECT_TRUE(is_public(boost::asio::ip::make_address(text))) << text;
  }
}

TEST(PublicAddress, IsNoneOfThisMachineOrOfAPrivateNetwork) {
  for (const char* text : {"0.0.0.0",
                           "0.1.2.3",
                           "10.0.0.1",
                           "100.64.0.1",
                           "127.0.0.1",
                           "127.255.255.254",
                           "169.254.169.254",
                           "172.16.0.1",
                           "172.31.255.255",
                           "192.0.0.1",
                           "192.0.2.1",
                           "192.168.1.1",
                           "198.18.0.1",
                           "198.19.255.255",
                           "198.51.100.1",
                           "203.0.113.1",
                           "224.0.0.1",
                           "240.0.0.1",
                           "255.255.255.255",
                           "::",
                           "::1",
                           "::ffff:127.0.0.1",
                           "::ffff:10.0.0.1",
                           "::127.0.0.1",
                           "64:ff9b::7f00:1",
                           "fc00::1",
                           "fd12::1",
                           "fe80::1",
                           "ff02::1",
                           "2001::1",
                           "2001:db8::1",
                           "2002:7f00:1::",
                           "3fff::1"}) {
    EXPECT_FALSE(is_public(boost::asio::ip::make_address(text))) << text;
  }
}

}  // namespace

}  // namespace sojourn::http
