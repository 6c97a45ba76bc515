#include "sojourn/device/usb_ports.hpp"

#include <gmock/gmock.h>
#include <pty.h>
#include <unistd.h>

#include <fstream>

#include "sojourn/base/error.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/temporary_folder_test.hpp"

namespace sojourn::device {

namespace {

namespace fs = std::filesystem;

// A folder like sysfs with two boards on USB and a port that is not.
class UsbPortsTest : public testing::Test {
 public:
  void SetUp() override {
    add("ttyACM0", "1-1",
        {{"idVendor", "2e8a"}, {"idProduct", "0005"}, {"serial", "E66A"}, {"product", "Board in FS mode"}});
    add("ttyUSB3", "1-2",
        {{"idVendor", "10c4"},
         {"idProduct", "ea60"},
         {"serial", "0001"},
         {"manufacturer", "SL"},
         {"product", "CP2102"}});
    fs::create_directories(root() / "sys/class/tty/ttyS0/device");
  }

  void add(const std::string& port, const std::string& device,
           const std::vector<std::pair<std::string, std::string>>& about) {
    const fs::path device_folder = root() / "sys/devices/usb1" / device;
    fs::create_directories(device_folder / "1-1:1.0");
    for (const auto& [name, value] : about) std::ofstream(device_folder / name) << value << '\n';
    fs::create_directories(root() / "sys/class/tty" / port);
    fs::create_directory_symlink(device_folder / "1-1:1.0", root() / "sys/class/tty" / port / "device");
  }

  fs::path root() const { return folder.path(); }

  std::string refusal(const UsbAddress& address) const {
    try {
      return "chose " + choose_usb_port(address, find_usb_ports(root())).path;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::connection_failed);
      return error.message();
    }
  }

  TemporaryFolder folder;
};

TEST_F(UsbPortsTest, AreThoseOfUsbDevicesWithWhatTheySayOfThemselves) {
  const auto ports = find_usb_ports(root());
  ASSERT_EQ(ports.size(), 2u);
  EXPECT_EQ(ports[0].path, root() / "dev/ttyACM0");
  EXPECT_EQ(ports[0].serial, "E66A");
  EXPECT_EQ(ports[0].name, "Board in FS mode");
  EXPECT_EQ(ports[1].name, "SL CP2102");
  EXPECT_TRUE(find_usb_ports(root() / "nowhere").empty());
}

TEST_F(UsbPortsTest, AreChosenByWhatTheAddressNames) {
  const auto ports = find_usb_ports(root());
  EXPECT_EQ(choose_usb_port({.vendor = "2e8a"}, ports).path, ports[0].path);
  EXPECT_EQ(choose_usb_port({.product = "ea60"}, ports).path, ports[1].path);
  EXPECT_EQ(choose_usb_port({.serial = "E66A"}, ports).path, ports[0].path);
  EXPECT_THAT(refusal({.vendor = "2e8a", .serial = "0001"}), testing::HasSubstr("0 of the 2"));
  add("ttyACM1", "1-3", {{"idVendor", "2e8a"}, {"idProduct", "0005"}});
  EXPECT_THAT(refusal({.vendor = "2e8a"}), testing::HasSubstr("2 of the 3"));
  EXPECT_THAT(refusal({.vendor = "2e8a"}), testing::HasSubstr("usb:2e8a:0005:E66A")) << "says how to tell them apart";
}

TEST_F(UsbPortsTest, AreFoundAgainUnderAnotherName) {
  int board = -1;
  int host = -1;
  char path[128];
  ASSERT_EQ(::openpty(&board, &host, path, nullptr, nullptr), 0);
  fs::create_directories(root() / "dev");
  fs::create_symlink(path, root() / "dev/ttyACM7");
  Loop loop;
  SystemClock clock;
  const auto wire = make_usb_transport(loop.executor(), clock, {.serial = "E66A"}, root());
  struct Body {
    static Async<void> run(Transport& wire, int board, const fs::path& root, Instant soon) {
      bool opened = false;
      try {
        co_await wire.open(soon);
        opened = true;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::connection_failed) << "there is no ttyACM0 in dev";
      }
      EXPECT_FALSE(opened);
      fs::rename(root / "sys/class/tty/ttyACM0", root / "sys/class/tty/ttyACM7");
      co_await wire.open(soon);
      EXPECT_EQ(::write(board, "hi", 2), 2);
      EXPECT_EQ(co_await wire.receive(), "hi");
      wire.close();
    }
  };
  loop.run(Body::run(*wire, board, root(), clock.instant() + Seconds(60)));
  ::close(board);
  ::close(host);
}

}  // namespace

}  // namespace sojourn::device
