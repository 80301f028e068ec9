//! The text of a query: no text may crash, hang or swallow memory.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = monitoring_core::fuzzing::query(text);
});
