#include "sojourn/session/state.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/session/session.hpp"

namespace sojourn::session {

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

ErrorCode code_of_set(State& state, std::string_view key, const Json& value) {
  try {
    state.set(key, value);
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "was taken";
  return ErrorCode::internal_error;
}

TEST(State, GivesBackWhatWasSet) {
  State state;
  state.set("a", JsonObject{{"x", JsonArray{1, 2.5, nullptr, "z"}}});
  EXPECT_EQ(state.get("a"), Json(JsonObject{{"x", JsonArray{1, 2.5, nullptr, "z"}}}));
  EXPECT_EQ(state.get("b"), std::nullopt);
  EXPECT_EQ(state.get("b", 7), Json(7));
  EXPECT_TRUE(state.exists("a"));
  EXPECT_FALSE(state.exists("b"));
}

TEST(State, ANullThatWasSetIsThere) {
  State state;
  state.set("a", nullptr);
  EXPECT_TRUE(state.exists("a"));
  EXPECT_EQ(state.get("a", 7), Json(nullptr));
}

TEST(State, CopiesOnTheWayInAndOut) {
  State state;
  Json value = JsonObject{{"list", JsonArray{1}}};
  state.set("a", value);
  value.as_object()["list"].as_array().push_back(2);
  Json out = *state.get("a");
  out.as_object().clear();
  EXPECT_EQ(state.get("a"), Json(JsonObject{{"list", JsonArray{1}}}));
}

TEST(State, RemovingSaysWhetherTheKeyWasThere) {
  State state;
  state.set("a", 1);
  EXPECT_TRUE(state.remove("a"));
  EXPECT_FALSE(state.remove("a"));
  EXPECT_FALSE(state.exists("a"));
}

TEST(State, RefusesWhatJsonCannotHoldAndNamesThePlace) {
  State state;
  state.set("a", 1);
  const Json nan = JsonObject{{"deep", JsonArray{0, std::nan("")}}};
  try {
    state.set("a", nan);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_serializable);
    EXPECT_EQ(error.details().at("pointer"), "/deep/1");
    EXPECT_EQ(error.details().at("key"), "a");
  }
  EXPECT_EQ(code_of_set(state, "a", std::numeric_limits<double>::infinity()), ErrorCode::not_serializable);
  EXPECT_EQ(code_of_set(state, "a", "\xff"), ErrorCode::not_serializable);
  Json deep = 1;
  for (std::size_t i = 0; i <= limits::json_depth; ++i) deep = JsonArray{deep};
  EXPECT_EQ(code_of_set(state, "a", deep), ErrorCode::not_serializable);
  EXPECT_EQ(state.get("a"), Json(1));  // unchanged by all of them
}

TEST(State, RefusesKeysOfTheWrongShape) {
  State state;
  EXPECT_EQ(code_of_set(state, "", 1), ErrorCode::invalid_request);
  EXPECT_EQ(code_of_set(state, std::string(limits::state_key_bytes + 1, 'k'), 1), ErrorCode::invalid_request);
  EXPECT_EQ(code_of_set(state, "\xff", 1), ErrorCode::invalid_request);
  state.set(std::string(limits::state_key_bytes, 'k'), 1);
  EXPECT_EQ(state.size(), 1u);
}

TEST(State, IsBoundedInValueKeysAndSum) {
  State state;
  EXPECT_EQ(code_of_set(state, "a", Json(std::string(limits::state_value_bytes, 'x'))), ErrorCode::too_large);
  for (std::size_t i = 0; i < limits::state_keys; ++i) state.set(std::to_string(i), 1);
  EXPECT_EQ(code_of_set(state, "one more", 1), ErrorCode::too_large);
  state.set("0", 2);  // a key that is there may still change

  State large;
  const Json value(std::string(limits::state_value_bytes - 2, 'x'));
  const std::size_t fit = limits::state_bytes / limits::state_value_bytes;
  for (std::size_t i = 0; i < fit; ++i) large.set(std::to_string(i), value);
  EXPECT_EQ(code_of_set(large, "one more", "x"), ErrorCode::too_large);
  large.remove("0");
  large.set("one more", "x");
}

TEST(State, TellsWhatChangedSinceItWasAccepted) {
  State state({{"same", "1"}, {"gone", "2"}, {"new value", "3"}});
  EXPECT_FALSE(state.has_changes());
  state.set("same", 5);
  state.set("same", 1);
  state.remove("gone");
  state.set("new value", 4);
  state.set("added", true);
  state.set("passing", 1);
  state.remove("passing");
  EXPECT_THAT(state.changes(),
              ElementsAre(store::StateChange{"added", "true"}, store::StateChange{"gone", std::nullopt},
                          store::StateChange{"new value", "4"}));
  state.accept();
  EXPECT_THAT(state.changes(), IsEmpty());
}

TEST(State, DiscardingPutsBackWhatWasThere) {
  State state({{"kept", "1"}, {"removed", "\"x\""}});
  state.set("kept", 2);
  state.set("kept", 3);
  state.remove("removed");
  state.set("added", 1);
  state.discard();
  EXPECT_EQ(state.to_json(), (JsonObject{{"kept", 1}, {"removed", "x"}}));
  EXPECT_THAT(state.changes(), IsEmpty());
}

TEST(State, NamesAStoredValueThatCannotBeRead) {
  const State state({{"a", "{broken"}});
  try {
    state.get("a");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::store_corrupt);
    EXPECT_THAT(error.message(), testing::HasSubstr("state[\"a\"]"));
  }
}

TEST(Session, WorksAloneInMemory) {
  Session session("session-20240425-000123", {{"product_code", "A1"}, {"nested", JsonObject{{"x", 1}}}});
  EXPECT_EQ(session.id(), "session-20240425-000123");
  EXPECT_EQ(session.context().at("product_code"), "A1");
  session.set("step_start_ms", 12);
  EXPECT_EQ(session.get("step_start_ms"), Json(12));
  EXPECT_TRUE(session.exists("step_start_ms"));
  EXPECT_TRUE(session.remove("step_start_ms"));
  EXPECT_FALSE(session.remove("step_start_ms"));
  EXPECT_EQ(session.get("step_start_ms", "none"), Json("none"));
}

TEST(Session, KeepsItsContextWhateverTheCallerDoes) {
  JsonObject context{{"nested", JsonObject{{"x", 1}}}};
  const Session session("s", context);
  context["nested"].as_object()["x"] = 2;
  EXPECT_EQ(session.context().at("nested").at("x"), 1);
}

TEST(Session, RefusesIdsAndContextsOfTheWrongShape) {
  for (const std::string& id :
       {std::string(), std::string(129, 'x'), std::string("a b"), std::string("a\0b", 3), std::string("\xc3\xa4")}) {
    EXPECT_THROW(Session{id}, Error) << id;
  }
  EXPECT_NO_THROW(Session{std::string(128, '~')});
  EXPECT_THROW(Session("s", {{"x", std::nan("")}}), Error);
  EXPECT_THROW(Session("s", {{"x", std::string(limits::context_bytes, 'x')}}), Error);
}

}  // namespace

}  // namespace sojourn::session
