//! The body of a remote write, in the messages of both versions, up to the rows to be stored.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for series in monitoring_tower::fuzzing::received(body).into_iter().flatten() {
        let _ = monitoring_core::fuzzing::stored(series);
    }
});
