#include "sojourn/device/usb_ports.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>

#include "sojourn/base/error.hpp"
#include "sojourn/device/serial_transport.hpp"

namespace sojourn::device {

namespace {

namespace fs = std::filesystem;

// The first line; "" where there is none.
std::string read_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

// The USB device that a port belongs to is one of the folders above the port's own.
std::optional<fs::path> usb_folder(const fs::path& port) {
  std::error_code error;
  fs::path folder = fs::canonical(port / "device", error);
  for (; !error && folder.has_relative_path(); folder = folder.parent_path()) {
    if (fs::exists(folder / "idVendor", error)) return folder;
  }
  return std::nullopt;
}

bool fits(const UsbAddress& address, const UsbPort& port) {
  const auto allows = [](const std::string& wanted, const std::string& is) { return wanted.empty() || wanted == is; };
  return allows(address.vendor, port.vendor) && allows(address.product, port.product) &&
         allows(address.serial, port.serial);
}

class UsbTransport final : public Transport {
 public:
  UsbTransport(Executor executor, Clock& clock, UsbAddress address, fs::path root)
      : executor_(std::move(executor)), clock_(clock), address_(std::move(address)), root_(std::move(root)) {}

  Async<void> open(Instant deadline) override {
    close();
    const UsbPort found = choose_usb_port(address_, find_usb_ports(root_));
    port_ = make_serial_transport(executor_, clock_, {found.path, address_.baud});
    co_await port_->open(deadline);
  }
  Async<std::string> receive() override {
    if (port_ == nullptr) throw Error(ErrorCode::connection_failed, "the wire to the board is closed");
    return port_->receive();
  }
  void send(std::string_view bytes) override {
    if (port_ != nullptr) port_->send(bytes);
  }
  bool can_restart() const override { return true; }
  Async<void> restart(Instant deadline) override {
    if (port_ == nullptr) co_await open(deadline);
    co_await port_->restart(deadline);
  }
  void close() override {
    if (port_ != nullptr) port_->close();
  }

 private:
  Executor executor_;
  Clock& clock_;
  UsbAddress address_;
  fs::path root_;
  std::unique_ptr<Transport> port_;
};

}  // namespace

std::vector<UsbPort> find_usb_ports(const fs::path& root) {
  std::vector<UsbPort> ports;
  std::error_code error;
  for (fs::directory_iterator each(root / "sys/class/tty", error), end; !error && each != end;
       each.increment(error)) {
    const auto folder = usb_folder(each->path());
    if (!folder) continue;
    const std::string maker = read_line(*folder / "manufacturer");
    const std::string product = read_line(*folder / "product");
    ports.push_back({(root / "dev" / each->path().filename()).string(), read_line(*folder / "idVendor"),
                     read_line(*folder / "idProduct"), read_line(*folder / "serial"),
                     fmt::format("{}{}{}", maker, maker.empty() || product.empty() ? "" : " ", product)});
  }
  std::ranges::sort(ports, {}, &UsbPort::path);
  return ports;
}

UsbPort choose_usb_port(const UsbAddress& address, const std::vector<UsbPort>& ports) {
  std::vector<UsbPort> fitting;
  std::string names;
  for (const UsbPort& port : ports) {
    names += fmt::format("; {} is usb:{}:{}{}{}", port.path, port.vendor, port.product,
                         port.serial.empty() ? "" : ":", to_valid_utf8(port.serial));
    if (fits(address, port)) fitting.push_back(port);
  }
  if (fitting.size() == 1) return fitting.front();
  throw Error(ErrorCode::connection_failed,
              fmt::format("{}: {} of the {} serial ports on USB fit{}", to_string(Address(address)), fitting.size(),
                          ports.size(), names));
}

std::unique_ptr<Transport> make_usb_transport(Executor executor, Clock& clock, UsbAddress address, fs::path root) {
  return std::make_unique<UsbTransport>(std::move(executor), clock, std::move(address), std::move(root));
}

}  // namespace sojourn::device
