#include "sojourn/device/device_context.hpp"

#include "sojourn/device/board_bench_test.hpp"

namespace sojourn::device {

namespace {

class DeviceContextTest : public BoardBench {
 public:
  void with_each(Async<void> (*body)(BoardBench&, Board&)) { with_board(GetParam()(), body); }
};

INSTANTIATE_TEST_SUITE_P(Real, DeviceContextTest, testing::Values(microbit, webassembly_with_paste),
                         [](const auto& info) { return std::string(info.param().name); });

TEST_P(DeviceContextTest, TellsWhatTheDeviceIsAndHowItIsSpokenTo) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    const Capabilities capabilities = co_await board.capabilities(bench.soon());
    const DeviceContext context("s1", board, capabilities);
    const bool small = capabilities.platform == "microbit";
    EXPECT_EQ(context.session_id(), "s1");
    EXPECT_EQ(context.info(), (DeviceInfo{.identity = capabilities.id,
                                          .firmware = small ? "micropython 1.9.2" : "micropython 1.27.0",
                                          .platform = capabilities.platform,
                                          .board = capabilities.machine}));
    EXPECT_EQ(context.info().identity.empty(), !small) << "the other has no unique id";
    EXPECT_EQ(context.connection_state(), ConnectionState::connected);
    EXPECT_EQ(context.protocol_capabilities().line_ends, small ? LineEnds::cr_lf : LineEnds::lf);
    EXPECT_GT(context.protocol_capabilities().burst, 0u);
    if (small) co_return;
    co_await board.exec("x = '" + std::string(9000, 'x') + "'", bench.soon());
    EXPECT_EQ(context.protocol_capabilities().raw_paste, true);
    EXPECT_EQ(context.protocol_capabilities().paste_window, 128u);
  });
}

TEST_P(DeviceContextTest, CountsWhatGoesOverTheWire) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    DeviceContext context("s1", board, co_await board.capabilities(bench.soon()));
    const LinkStatistics before = context.protocol_metrics();
    EXPECT_GE(before.resyncs, 1u) << "the prompt was found";
    EXPECT_EQ(before.resets, 0u);
    const std::string code = "print('" + std::string(100, 'x') + "')";
    co_await board.exec(code, bench.soon());
    LinkStatistics now = context.protocol_metrics();
    EXPECT_EQ(now.runs, before.runs + 1);
    EXPECT_EQ(now.run_time.count(), before.run_time.count() + 1);
    EXPECT_GT(now.run_time.longest(), Microseconds(0));
    EXPECT_GT(now.bytes_sent, before.bytes_sent + code.size());
    EXPECT_GT(now.bytes_received, before.bytes_received + 100);
    EXPECT_LT(now.bytes_received, before.bytes_received + 1000);

    co_await board.restart(bench.soon());
    now = context.protocol_metrics();
    EXPECT_EQ(now.resets, 1u);
    EXPECT_EQ(now.restarts, 1u);
    EXPECT_GT(now.resyncs, before.resyncs);

    context.register_protocol_metrics({.runs = 5, .bytes_sent = 7});
    context.register_protocol_metrics({.runs = 1});
    EXPECT_EQ(context.protocol_metrics().runs, now.runs + 6);
    EXPECT_EQ(context.protocol_metrics().bytes_sent, now.bytes_sent + 7);
    EXPECT_EQ(to_json(context.protocol_metrics()).at("runs"), Json(now.runs + 6));
  });
}

TEST(Latency, TellsAboutWhatAShareDidNotExceed) {
  Latency latency;
  EXPECT_EQ(latency.quantile(0.5), Microseconds(0));
  for (int i = 0; i < 98; ++i) latency.add(Microseconds(300));
  latency.add(Microseconds(0));
  latency.add(Seconds(5000));
  EXPECT_EQ(latency.count(), 100u);
  EXPECT_EQ(latency.shortest(), Microseconds(0));
  EXPECT_EQ(latency.longest(), Seconds(5000));
  EXPECT_EQ(latency.quantile(0.5), Microseconds(512));
  EXPECT_EQ(latency.quantile(0.995), Seconds(5000));
  EXPECT_EQ(latency.in_step(9), 98u);
}

}  // namespace

}  // namespace sojourn::device
