//! Named points at which tests hold the process, so that they can kill it in a known place.
//!
//! Only with the feature `hold-points`: `PRESSLUFT_HOLD_AT` names one point, `PRESSLUFT_HOLD_FILE` a file that is made
//! when it is reached; then the task waits for ever.

#[cfg(not(feature = "hold-points"))]
pub(crate) async fn reach(_name: &str) {}

#[cfg(feature = "hold-points")]
pub(crate) async fn reach(name: &str) {
    let wanted = std::env::var("PRESSLUFT_HOLD_AT").is_ok_and(|point| point == name);
    if !wanted {
        return;
    }
    if let Some(file) = std::env::var_os("PRESSLUFT_HOLD_FILE")
        && let Err(error) = std::fs::write(&file, name)
    {
        tracing::error!(%error, "the hold file cannot be written");
    }
    std::future::pending::<()>().await;
}
