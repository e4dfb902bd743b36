//! micrun
