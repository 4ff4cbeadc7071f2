use super::*;

#[tokio::test]
async fn the_first_failure_stops_all_and_is_the_error() {
    let (stop, finished) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = Tasks::new(stop.clone(), finished);
    tasks.spawn("patient", async move {
        stop.cancelled().await;
        anyhow::bail!("a later failure")
    });
    tasks
        .spawn_thread("thread", || anyhow::bail!("the first failure"))
        .expect("a thread");
    let error = tasks.join().await.expect_err("a failure");
    assert_eq!(format!("{error:#}"), "thread: the first failure");
}

#[tokio::test]
async fn a_panicking_thread_is_a_failure() {
    let mut tasks = Tasks::new(CancellationToken::new(), CancellationToken::new());
    tasks
        .spawn_thread("thread", || panic!("on purpose"))
        .expect("a thread");
    assert!(tasks.join().await.is_err());
}

#[tokio::test]
async fn the_background_ends_after_the_work() {
    let (stop, finished) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = Tasks::new(stop.clone(), finished.clone());
    let work_ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = std::sync::Arc::clone(&work_ended);
    tasks.spawn_background("background", async move {
        finished.cancelled().await;
        anyhow::ensure!(
            seen.load(std::sync::atomic::Ordering::SeqCst),
            "work was still under way"
        );
        Ok(())
    });
    tasks.spawn("work", async move {
        tokio::task::yield_now().await;
        work_ended.store(true, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    });
    tasks.join().await.expect("in order");
}
