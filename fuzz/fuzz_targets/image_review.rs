#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| trust_tests::fuzz::image_review(data));
