//! recipes-test/kit
