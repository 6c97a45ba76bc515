#pragma once

#include <filesystem>
#include <span>

#include "sojourn/store/sqlite.hpp"

// The tables of a store (docs/formats/store.md), and how an older store becomes one of this version.
namespace sojourn::store {

// What makes version `version` from the one before it.
struct Migration {
  int version;
  const char* sql;
};

// All of them, oldest first; the first makes the tables from nothing.
std::span<const Migration> migrations();

// Brings the database up to the last of `steps`, each in a transaction of its own.
// Errors: store_newer for a version past the last; store_corrupt for another program's database; a Statement's.
// Durable: when it returns.
void migrate(Connection& connection, std::span<const Migration> steps, const std::filesystem::path& file);

// Errors: store_newer, store_corrupt; store_read_only for an older version, since only a writer brings it up to date.
void check_schema(Connection& connection, const std::filesystem::path& file);

}  // namespace sojourn::store
