//! Part `pages`: how long the server takes for a page, and how much a page weighs, with 10,000
//! deliveries and 100,000 that wait. With a browser at hand also the time until the largest part is
//! shown, beside a blank page.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, COOKIE, ORIGIN, SET_COOKIE};
use serde_json::{Value, json};

use super::deployment::{Deployment, Process};
use super::kafka;
use super::options::Options;
use super::report::{Figure, across};
use super::stats::percentile;

/// Pages a second.
const RATE: u32 = 100;
/// Pages of a run.
const PAGES: usize = 2_000;
const SITE: &str = "shop.example";
const KILOBYTE: f64 = 1024.0;

/// The pages and their bars in milliseconds.
const BARS: [(&str, f64); 4] = [
    ("list", 15.0),
    ("deliveries", 15.0),
    ("delivery", 10.0),
    ("form", 30.0),
];

/// A visitor's browser without a screen.
struct Visitor {
    http: reqwest::Client,
    base: String,
    cookie: String,
}

pub fn run(options: &Options) -> anyhow::Result<Vec<Figure>> {
    kafka::runtime()?.block_on(measure(options))
}

async fn measure(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let deployment = Deployment::create(options).await?;
    let process = deployment.serve("api").await?;
    let paths = fill(&deployment, &process).await?;
    let visitor = Visitor::arrive(&deployment, &process).await?;
    let mut runs: Vec<Vec<Vec<f64>>> = Vec::new();
    for run in 0..options.runs {
        let took = visitor.visit(&paths).await?;
        let p99: Vec<String> = took
            .iter()
            .map(|one| format!("{:.1}", percentile(one, 0.99)))
            .collect();
        eprintln!("  run {}: p99 {} ms", run + 1, p99.join(", "));
        runs.push(took);
    }
    let mut figures: Vec<Figure> = Vec::new();
    for (index, (name, bar)) in BARS.iter().enumerate() {
        let p99 = across(&runs, |run| percentile(&run[index], 0.99));
        figures.push(Figure::new(format!("{name}, p99"), "ms", p99).at_most(*bar));
    }
    let page = visitor.weigh(&paths[1]).await?;
    figures.push(Figure::new("HTML of deliveries, gzip", "KB", vec![page]).at_most(12.0));
    let (css, js) = visitor.assets(&paths[0]).await?;
    figures.push(Figure::new("CSS, gzip", "KB", vec![css]).at_most(4.0));
    figures.push(Figure::new("script, gzip", "KB", vec![js]).at_most(4.0));
    figures.extend(in_browser(&visitor, &paths[0])?);
    drop(process);
    Ok(figures)
}

/// Makes a webhook with its deliveries and the rows that wait; returns the paths of the pages.
async fn fill(deployment: &Deployment, process: &Process) -> anyhow::Result<[String; 4]> {
    let body = json!({"name": "bench", "url": "https://hooks.example.com/x",
        "events": ["visitor_spike"], "triggers": {"visitor_spike": {"threshold": 300}}});
    let made = deployment
        .call(process, &format!("/api/sites/{SITE}/webhooks"), &body)
        .await?;
    let id = made["id"].as_str().context("a webhook's id")?.to_owned();
    let uuid = id.parse::<bellwether::domain::id::WebhookId>()?.uuid();
    // Ids as deliveries have them: milliseconds, then what makes them different.
    sqlx::query(
        "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, attempts,
             response_code, parked_until, parked_reason, payload, created_at, first_attempt_at, inserted_at, updated_at)
         select id, id, $1, $2, 'visitor_spike', 'event', case when n > 10000 then 'pending' else 'delivered' end,
             case when n > 10000 then 0 else 1 end, case when n > 10000 then null else 200 end,
             case when n > 10000 then at end, case when n > 10000 then 'circuit' end,
             '{\"data\":{\"current_visitors\":512,\"threshold\":300}}', at, at, at, at
         from (select n, now() - n * interval '2 seconds' as at,
                   (lpad(to_hex((extract(epoch from now() - n * interval '2 seconds') * 1000)::bigint), 12, '0')
                    || '8000' || '8' || lpad(to_hex(n), 15, '0'))::uuid id
               from generate_series(1, 110000) n) made",
    )
    .bind(uuid)
    .bind(SITE)
    .execute(&deployment.pool)
    .await?;
    sqlx::query(
        "insert into delivery_attempts (delivery_id, attempt, due_at, started_at, ended_at, status_code, result, fault,
             total_ms)
         select id, 1, created_at, created_at, created_at, 200, '2xx', 'none', 84 from deliveries where attempts = 1",
    )
    .execute(&deployment.pool)
    .await?;
    sqlx::query(
        "insert into parked (delivery_id, webhook_id, partition, due_at, reason, attempt, step)
         select id, webhook_id, 0, created_at, 'circuit', 1, 0 from deliveries where status = 'pending'",
    )
    .execute(&deployment.pool)
    .await?;
    sqlx::query("analyze deliveries, delivery_attempts, parked")
        .execute(&deployment.pool)
        .await?;
    let newest: uuid::Uuid = sqlx::query_scalar("select id from deliveries order by id desc limit 1")
        .fetch_one(&deployment.pool)
        .await?;
    let newest = bellwether::domain::id::DeliveryId::from_uuid(newest);
    let webhook = format!("/sites/{SITE}/webhooks/{id}");
    Ok([
        format!("/sites/{SITE}/webhooks"),
        format!("{webhook}/deliveries"),
        format!("{webhook}/deliveries/{newest}"),
        format!("{webhook}/edit"),
    ])
}

impl Visitor {
    /// Opens a session with a link.
    async fn arrive(deployment: &Deployment, process: &Process) -> anyhow::Result<Self> {
        let path = format!("/api/sites/{SITE}/portal-links");
        let made = deployment.call(process, &path, &json!({})).await?;
        let link = made["url"].as_str().context("a link")?;
        let policy = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().redirect(policy).build()?;
        let base = process.api().to_owned();
        let shown = http.get(link).send().await?;
        let browser = shown.headers().get(SET_COOKIE).context("a cookie")?.clone();
        let page = shown.text().await?;
        let token = page.split("name=\"token\" value=\"").nth(1);
        let token = token.and_then(|rest| rest.split('"').next()).context("a token")?;
        let opened = http
            .post(link)
            .header(ORIGIN, &base)
            .header(COOKIE, browser)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("token={token}"))
            .send()
            .await?;
        let cookie = opened.headers().get(SET_COOKIE).context("a cookie")?.to_str()?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Ok(Self { http, base, cookie })
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http
            .get(format!("{}{path}", self.base))
            .header(COOKIE, &self.cookie)
    }

    /// Visits the pages in turn at a steady rate; the times of each in milliseconds.
    async fn visit(&self, paths: &[String; 4]) -> anyhow::Result<Vec<Vec<f64>>> {
        let mut took = vec![Vec::new(); paths.len()];
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
        let mut running = tokio::task::JoinSet::new();
        for number in 0..PAGES {
            ticks.tick().await;
            let index = number % paths.len();
            let request = self.get(&paths[index]);
            running.spawn(async move {
                let began = Instant::now();
                let response = request.send().await?;
                let status = response.status();
                let bytes = response.bytes().await?;
                anyhow::ensure!(
                    status.is_success() && !bytes.is_empty(),
                    "a page answered {status}"
                );
                Ok((index, began.elapsed().as_secs_f64() * 1e3))
            });
        }
        while let Some(done) = running.join_next().await {
            let (index, ms) = done??;
            took[index].push(ms);
        }
        Ok(took)
    }

    /// The size of what is sent for a path, compressed, in kilobytes.
    async fn weigh(&self, path: &str) -> anyhow::Result<f64> {
        let response = self.get(path).header(ACCEPT_ENCODING, "gzip").send().await?;
        Ok(response.bytes().await?.len() as f64 / KILOBYTE)
    }

    /// The sizes of style sheet and script.
    async fn assets(&self, page: &str) -> anyhow::Result<(f64, f64)> {
        let response = self.get(page).send().await?;
        anyhow::ensure!(response.headers().contains_key(CONTENT_TYPE), "a page has a type");
        let html = response.text().await?;
        let asset = |attribute: &str| -> anyhow::Result<String> {
            let (_, rest) = html.split_once(attribute).context("a page names its assets")?;
            Ok(format!(
                "/assets/app{}",
                rest.split('"').next().unwrap_or_default()
            ))
        };
        let css = self.weigh(&asset("href=\"/assets/app")?).await?;
        let js = self.weigh(&asset("src=\"/assets/app")?).await?;
        Ok((css, js))
    }
}

/// The time until the largest part is shown, as a multiple of a blank page with the same style
/// sheet, and the shift.
fn in_browser(visitor: &Visitor, path: &str) -> anyhow::Result<Vec<Figure>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = root.join(".local/browser");
    let output = Command::new("node")
        .arg(root.join("tests/browser/paint.mjs"))
        .arg(
            json!({"base": visitor.base, "path": path, "modules": modules, "cookie": visitor.cookie})
                .to_string(),
        )
        .output();
    let output = match output {
        Ok(output) if output.status.success() => output,
        _ => {
            eprintln!("  SKIPPED: NO BROWSER: `scripts/install-deps browser`");
            return Ok(Vec::new());
        }
    };
    let seen: Value = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| seen[name].as_f64().with_context(|| format!("{name} is missing"));
    let (page, blank) = (number("page")?, number("blank")?);
    eprintln!("  largest part shown after {page:.0} ms, a blank page's after {blank:.0} ms");
    Ok(vec![
        Figure::new(
            "largest part shown, of a blank page's time",
            "x",
            vec![page / blank],
        )
        .at_most(2.5),
        Figure::new("layout shift", "", vec![number("shift")?]).at_most(0.0),
    ])
}
