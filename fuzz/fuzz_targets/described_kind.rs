#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| trust_tests::fuzz::described_kind(data));
