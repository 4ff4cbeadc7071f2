//! `demo`: the whole of Bellwether in one process, with everything around it: a Kafka, a
//! PostgreSQL, sites with visitors, and a receiver. For a look at it, and for nothing that matters.
//!
//! Guaranteed: when it ends, by whatever cause, no process, port or folder of it stays.

mod arguments;
mod postgres;
mod sites;
mod traffic;
mod stream;
mod arrival;
mod receiver;
mod setup;
mod stage;
mod performance;
mod introduction;
mod layout;
mod frame;
mod screen;

use tokio_util::sync::CancellationToken;

use self::postgres::{PrivatePostgres, Programs};
use self::screen::Screen;
use crate::app::{Lifecycle, SecondSignal};
use crate::cli::exit::ExitCode;
use crate::tasks::Tasks;

pub(super) use arguments::DemoArgs;

/// Plays the demo to its end.
pub(super) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let lifecycle = Lifecycle::default();
    let Lifecycle { stop, finished, .. } = lifecycle.clone();
    let mut tasks = Tasks::new(stop.clone(), finished.clone());
    tasks.spawn_background("signals", lifecycle.watch_signals(SecondSignal::IsIgnored));
    let mut screen = Screen::new();
    screen.say("bellwether demo: everything is started now, and goes when the demo does");
    let result = with_database(&args, &mut screen, stop).await;
    finished.cancel();
    tasks.join().await?;
    match (result, screen.into_lost()) {
        (Ok(_), Some(lost)) => Err(lost.into()),
        (result, _) => result,
    }
}

async fn with_database(
    args: &DemoArgs,
    screen: &mut Screen,
    stop: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let programs = Programs::find(args.postgres_bin.as_deref())?;
    screen.say(&format!("  starting PostgreSQL {} …", programs.release));
    // Never cut off in the middle: what was begun is then known, and can be removed.
    let mut database = tokio::task::spawn_blocking(move || PrivatePostgres::start(&programs)).await??;
    let result = if stop.is_cancelled() {
        Ok(None)
    } else {
        stage::play(args, screen, stop, &mut database).await
    };
    tokio::task::spawn_blocking(move || drop(database)).await?;
    let Some(tally) = result? else {
        screen.say("the demo was stopped before it began; nothing of it is left");
        return Ok(ExitCode::SUCCESS);
    };
    screen.say(&format!("\nthe demo is over, and nothing of it is left\n{tally}"));
    Ok(if tally.bad_signatures > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
