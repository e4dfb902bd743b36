//! `crash_point!(Name)`: here a test can let this process die, or stop and wait. Nothing at all in a product, which is
//! built without the feature `crash-points`.
//!
//! The points and what each means are one table, in `armed`. A point stands after a step, where its name says what
//! has just been done.

#[cfg(not(feature = "crash-points"))]
macro_rules! crash_point {
    ($point:ident) => {};
}

#[cfg(feature = "crash-points")]
macro_rules! crash_point {
    ($point:ident) => {
        $crate::crash_point::armed::pass($crate::crash_point::armed::Point::$point)
    };
}

#[cfg(feature = "crash-points")]
pub mod armed;
