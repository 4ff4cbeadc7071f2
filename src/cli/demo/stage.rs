//! The stage of the demo: Kafka, the service and the receiver, started and stopped around the
//! performance.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::arguments::DemoArgs;
use super::arrival::{Arrival, ArrivalTally};
use super::performance::Performance;
use super::postgres::{self, PrivatePostgres};
use super::receiver::DemoReceiver;
use super::screen::Screen;
use super::setup;
use crate::app::{self, Host, Roles};
use crate::config::Config;
use crate::kafka::client::ClientEvents;
use crate::kafka::embedded::EmbeddedKafka;
use crate::kafka::topics::plan;
use crate::record::pool::ConnectionEpoch;
use crate::tasks::Tasks;
use crate::telemetry::metrics::{Labels, Metrics};

/// Ports at which API and metrics are looked for first: their usual ones.
const API_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9464;
/// Time within which the service has to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Sets everything up around the database, and plays until told to stop or the time is over.
pub(super) async fn play(
    args: &DemoArgs,
    screen: &mut Screen,
    stop: CancellationToken,
    database: &mut PrivatePostgres,
) -> anyhow::Result<Option<ArrivalTally>> {
    screen.say("  starting Kafka, embedded …");
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Labels::default())));
    let kafka = EmbeddedKafka::start(client_events.clone()).context("starting the embedded Kafka")?;
    let (api, admin, receiver) = (listen(API_PORT)?, listen(ADMIN_PORT)?, listen(0)?);
    let config = setup::config(database, &kafka, api.local_addr()?, admin.local_addr()?);
    kafka
        .create(&plan(&config, &app::schedules(&config)?.tier_names()))
        .context("making the topics")?;
    let pool = app::open_pool(&config, &ConnectionEpoch::default())?;
    postgres::wait_until_ready(database, &pool).await?;
    screen.say("  starting Bellwether …");

    let (arrivals, arrived) = mpsc::unbounded_channel();
    let performance = Performance {
        receiver: Arc::new(DemoReceiver::new(arrivals)),
        receiver_address: receiver.local_addr()?,
        config,
        pool,
        client_events,
        folder: database.folder().to_owned(),
        stop,
    };
    let service = Service::start(&performance, api, admin, receiver)?;
    let tally = perform(&performance, service, args, screen, arrived).await;
    drop(kafka);
    tally.map(Some)
}

/// The service and the receiver, running.
struct Service {
    tasks: Tasks,
    stop: CancellationToken,
}

impl Service {
    fn start(
        performance: &Performance,
        api: TcpListener,
        admin: TcpListener,
        receiver: TcpListener,
    ) -> anyhow::Result<Self> {
        let (stop, finished) = (CancellationToken::new(), CancellationToken::new());
        let mut tasks = Tasks::new(stop.clone(), finished.clone());
        let host = Host {
            stop: stop.clone(),
            is_there: true,
            api: Some(api),
            admin: Some(admin),
            embedded_kafka: true,
        };
        let config: Config = performance.config.clone();
        tasks.spawn("bellwether", app::serve_in(host, config, Roles::new(&[])));
        receiver.set_nonblocking(true)?;
        let receiver = tokio::net::TcpListener::from_std(receiver)?;
        let router = Arc::clone(&performance.receiver).router();
        tasks.spawn_background("receiver", async move {
            Ok(axum::serve(receiver, router)
                .with_graceful_shutdown(finished.cancelled_owned())
                .await?)
        });
        Ok(Self { tasks, stop })
    }
}

/// Plays while the service runs, and stops the service.
async fn perform(
    performance: &Performance,
    service: Service,
    args: &DemoArgs,
    screen: &mut Screen,
    arrived: mpsc::UnboundedReceiver<Arrival>,
) -> anyhow::Result<ArrivalTally> {
    let played = tokio::select! {
        played = performance.play(args, screen, arrived) => Some(played),
        // The service has failed; the supervisor says why.
        () = service.stop.cancelled() => None,
    };
    screen.end_live();
    service.stop.cancel();
    // The pool is closed first, or the server would wait for its connections.
    performance.pool.close().await;
    match tokio::time::timeout(STOP_TIMEOUT, service.tasks.join()).await {
        Ok(ended) => ended?,
        Err(_) => {
            tracing::warn!("the service did not stop within {STOP_TIMEOUT:?}; the process ends without it")
        }
    }
    played.context("the service ended by itself")?
}

/// A socket on the port if it is free, else on any that is.
fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let on = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    on(port).or_else(|_| on(0)).context("listening on 127.0.0.1")
}
