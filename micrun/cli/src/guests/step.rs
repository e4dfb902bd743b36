//! The steps of a change. A build with crash points can be told to die behind any of them, so that tests see what an `apply`
//! makes of what an earlier one left. No product has them.

/// Every step: of an update that is taken back, the first ones come twice.
pub const ALL: [&str; 15] = [
    "resolved",
    "brought",
    "prepared",
    "trial recorded",
    "released",
    "stopped",
    "removed",
    "created",
    "made",
    "started",
    "healthy",
    "recorded",
    "watched",
    "pruned",
    "refusal recorded",
];

/// Passes a step.
pub fn pass(step: &str) {
    debug_assert!(ALL.contains(&step), "{step}");
    #[cfg(feature = "crash-points")]
    if std::env::var("MICRUN_GUESTS_DIE_AFTER").is_ok_and(|wanted| wanted == step) {
        // Like a loss of power: nothing is cleaned up.
        let _ = std::process::Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status();
    }
}
