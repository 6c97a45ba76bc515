#pragma once

#include <chrono>
#include <cstddef>

// What is bounded, and by how much. Each bound is also in docs/reference/limits.md with what you get past it.
namespace sojourn::limits {

using namespace std::chrono_literals;

inline constexpr std::size_t kibibyte = 1024;
inline constexpr std::size_t mebibyte = 1024 * kibibyte;

// One JSON text: an HTTP body, a call's input or output, a frame.
inline constexpr std::size_t json_bytes = 8 * mebibyte;
inline constexpr std::size_t json_depth = 64;

// Session state.
inline constexpr std::size_t state_key_bytes = 256;
inline constexpr std::size_t state_value_bytes = 4 * mebibyte;
inline constexpr std::size_t state_bytes = 64 * mebibyte;
inline constexpr std::size_t state_keys = 10'000;
inline constexpr std::size_t context_bytes = 256 * kibibyte;
inline constexpr std::size_t session_id_bytes = 128;

// Journal.
inline constexpr std::size_t event_bytes = 256 * kibibyte;
inline constexpr std::size_t events_per_commit = 1'000;
inline constexpr std::size_t reason_bytes = 4 * kibibyte;  // of a stage move
inline constexpr std::size_t step_name_bytes = 64;
inline constexpr std::size_t step_note_bytes = 64 * kibibyte;  // the error and the data of one, each
inline constexpr std::size_t steps_per_session = 100'000;      // attempts
inline constexpr std::size_t waiting_entries = 10'000;         // stage moves, steps and artefacts of one session

// Calls.
inline constexpr std::size_t function_name_bytes = 128;
inline constexpr std::size_t idempotency_key_bytes = 256;
inline constexpr std::size_t default_queue = 1'000;              // waiting calls of one session
inline constexpr std::size_t queue_bytes = 32 * mebibyte;        // of what waits for one session
inline constexpr std::size_t all_queues_bytes = 256 * mebibyte;  // of what waits for any
inline constexpr auto default_call_timeout = 600s;
inline constexpr std::size_t scheduled_calls = 100'000;  // that wait for their run_at, of all sessions
inline constexpr std::size_t open_webhooks = 10'000;     // of calls that are not over, or not yet told
inline constexpr auto longest_schedule = 31'622'400s;    // from now to a run_at: 366 days

// Sessions.
inline constexpr auto min_session_timeout = 1s;
inline constexpr auto max_session_timeout = 3600s;
inline constexpr auto default_session_timeout = 60s;
inline constexpr std::size_t default_max_sessions = 1'000;  // of one app at once

// Files.
inline constexpr std::size_t file_bytes = 256 * mebibyte;
inline constexpr std::size_t file_name_bytes = 255;
inline constexpr std::size_t files_per_request = 64;  // announced by one, named by one input or output
inline constexpr auto upload_time = 3600s;            // from the announcement to the end of the upload
inline constexpr auto unused_upload_time = 86'400s;

// Artefacts.
inline constexpr std::size_t artifact_path_bytes = 1024;
inline constexpr std::size_t artifact_path_depth = 16;  // names
inline constexpr std::size_t artifacts_per_session = 10'000;

// Resources.
inline constexpr std::size_t resources_per_session = 10'000;
inline constexpr auto resource_cleanup = 30s;

}  // namespace sojourn::limits
