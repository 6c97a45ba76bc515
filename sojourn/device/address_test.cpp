#include "sojourn/device/address.hpp"

#include <gmock/gmock.h>

#include "sojourn/base/error.hpp"

namespace sojourn::device {

namespace {

TEST(Address, ReadsEachKind) {
  EXPECT_EQ(parse_address("/dev/ttyACM0"), Address(SerialAddress{"/dev/ttyACM0", 115'200}));
  EXPECT_EQ(parse_address("serial:/dev/ttyUSB0?baud=9600"), Address(SerialAddress{"/dev/ttyUSB0", 9600}));
  EXPECT_EQ(parse_address("tcp:board.local:23"), Address(TcpAddress{"board.local", 23}));
  EXPECT_EQ(parse_address("tcp:[::1]:8266"), Address(TcpAddress{"::1", 8266}));
  EXPECT_EQ(parse_address("usb:2E8A:0005"), Address(UsbAddress{"2e8a", "0005", ""}));
  EXPECT_EQ(parse_address("usb:::E66:1?baud=9600"), Address(UsbAddress{"", "", "E66:1", 9600}));
  EXPECT_EQ(parse_address("telnet:board.local"), Address(TelnetAddress{.host = "board.local"}));
  EXPECT_EQ(parse_address("telnet:micro:p@y:t@[::1]:2323"), Address(TelnetAddress{"::1", 2323, "micro", "p@y:t"}));
  EXPECT_EQ(parse_address("webrepl:secret@10.0.0.5"), Address(WebReplAddress{"10.0.0.5", 8266, "secret"}));
  EXPECT_EQ(parse_address("unix:/run/b.sock"), Address(UnixAddress{"/run/b.sock"}));
  EXPECT_EQ(parse_address("subprocess:node 'a b.mjs'  \"it's\" ''"),
            Address(SubprocessAddress{{"node", "a b.mjs", "it's", ""}}));
}

TEST(Address, IsReadBackAsItIsWritten) {
  for (const char* text :
       {"serial:/dev/ttyACM0", "serial:/dev/ttyUSB0?baud=9600", "tcp:board.local:23", "tcp:[::1]:8266",
        "unix:/run/b.sock", "usb:2e8a:0005", "usb:::E66?baud=9600", "telnet:h:23", "telnet:u:p@h:2323",
        "webrepl:p@[::1]:8266", "subprocess:node 'a b.mjs' x: ''"}) {
    EXPECT_EQ(to_string(parse_address(text)), text);
  }
  EXPECT_EQ(to_display(parse_address("telnet:micro:python@h")), "telnet:micro:***@h:23");
  EXPECT_EQ(to_display(parse_address("webrepl:secret@h")), "webrepl:***@h:8266");
  const Address quotes = SubprocessAddress{{"it's", "\"", "' \""}};
  EXPECT_EQ(parse_address(to_string(quotes)), quotes);
}

TEST(Address, TellsNoPasswordOfOneThatCannotBeRead) {
  for (const char* text : {"telnet:micro:secret@board:port", "webrepl:sec@ret@board:0", "telnet:secret@board"}) {
    try {
      parse_address(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_THAT(error.message(), testing::Not(testing::HasSubstr("ret"))) << text;
      EXPECT_THAT(error.message(), testing::HasSubstr(":***@board"));
    }
  }
}

TEST(Address, SaysWhatIsWrong) {
  for (const char* text : {"",
                           "board",
                           "serial:",
                           "serial:/dev/x?speed=1",
                           "serial:/dev/x?baud=fast",
                           "tcp:host",
                           "tcp::1",
                           "tcp:host:0",
                           "tcp:host:65536",
                           "unix:",
                           "subprocess:",
                           "subprocess:'x",
                           "usb:1",
                           "usb:",
                           "usb:::",
                           "usb:2e8a:xyz!",
                           "telnet:",
                           "telnet:user@h",
                           "webrepl:h",
                           "webrepl:@h",
                           "bluetooth:x"}) {
    try {
      parse_address(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::config_invalid);
      EXPECT_THAT(error.message(), testing::HasSubstr("tcp:HOST:PORT"));
    }
  }
}

}  // namespace

}  // namespace sojourn::device
