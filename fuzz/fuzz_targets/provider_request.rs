#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| trust_tests::fuzz::provider_request(data));
