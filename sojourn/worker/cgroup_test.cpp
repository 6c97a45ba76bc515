#include "sojourn/worker/cgroup.hpp"

#include <gmock/gmock.h>

namespace sojourn::worker {

namespace {

namespace fs = std::filesystem;
using testing::Eq;
using testing::Optional;

constexpr std::string_view version_1 = "31 25 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
constexpr std::string_view unified = "35 25 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";

TEST(OwnCgroup, IsFoundBelowWhereVersion2IsMounted) {
  EXPECT_THAT(own_cgroup(unified, "0::/system.slice/sojourn.service\n"),
              Optional(fs::path("/sys/fs/cgroup/system.slice/sojourn.service")));
  EXPECT_THAT(own_cgroup(unified, "0::/\n"), Optional(fs::path("/sys/fs/cgroup")));
  const std::string both = std::string(version_1) + "35 25 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
  EXPECT_THAT(own_cgroup(both, "4:memory:/jobs/1\n0::/a\n"), Optional(fs::path("/sys/fs/cgroup/unified/a")));
}

TEST(OwnCgroup, IsFoundWhereAPartOfTheHierarchyIsMounted) {
  const std::string_view part = "35 25 0:30 /docker/7a /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
  EXPECT_THAT(own_cgroup(part, "0::/docker/7a/inner\n"), Optional(fs::path("/sys/fs/cgroup/inner")));
  EXPECT_EQ(own_cgroup(part, "0::/docker/8b\n"), std::nullopt);
  EXPECT_EQ(own_cgroup(part, "0::/../8b\n"), std::nullopt);
  const std::string_view spaced = "35 25 0:30 / /mnt/a\\040b rw - cgroup2 cgroup rw\n";
  EXPECT_THAT(own_cgroup(spaced, "0::/x\n"), Optional(fs::path("/mnt/a b/x")));
}

TEST(OwnCgroup, IsNothingWhereOnlyVersion1IsMounted) {
  EXPECT_EQ(own_cgroup(version_1, "4:memory:/jobs/1\n"), std::nullopt);
  EXPECT_EQ(own_cgroup(version_1, "4:memory:/jobs/1\n0::/\n"), std::nullopt);
  EXPECT_EQ(own_cgroup("", ""), std::nullopt);
}

TEST(CgroupPlace, IsAFolderThatCanBeUsedOrSaysWhyThereIsNone) {
  const CgroupPlace place = prepare_cgroups(0x7E57);
  EXPECT_NE(place.folder.empty(), place.why_not.empty()) << place.folder << place.why_not;
  if (place.folder.empty()) return;
  Cgroups groups;
  groups.use(place.folder);
  EXPECT_TRUE(groups.make(1, {.memory_bytes = 64 << 20, .cpu_thousandths = 500, .processes = 7}));
  EXPECT_FALSE(groups.ran_out_of_memory(1));
  EXPECT_TRUE(groups.end(1));
  groups.end_all();
  EXPECT_FALSE(fs::exists(place.folder));
}

}  // namespace

}  // namespace sojourn::worker
