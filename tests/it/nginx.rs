//! A real nginx with HTTP/2 that closes each connection after 100 requests.
//!
//! `make test` sees to it that there is one. `NGINX_EVENTS=12000 make test ARGS="--test it nginx"`
//! is the long run.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use crate::support::app::Deployment;
use crate::support::{eventually, free_port};

const TIMEOUT: Duration = Duration::from_secs(120);

struct Nginx {
    child: Child,
    port: u16,
    _home: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Nginx {
    /// Starts one whose certificate is in `certificate`.
    fn start(certificate: &Path) -> Self {
        let home = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(
            certificate,
            pem("CERTIFICATE", params.self_signed(&key).unwrap().der()),
        )
        .unwrap();
        std::fs::write(
            home.path().join("key.pem"),
            pem("PRIVATE KEY", &key.serialize_der()),
        )
        .unwrap();
        let (home_path, port) = (home.path().display(), free_port());
        let configuration = format!(
            "daemon off; master_process off; pid {home_path}/pid; error_log {home_path}/errors;
             events {{ worker_connections 512; }}
             http {{
               access_log off;
               client_body_temp_path {home_path}; proxy_temp_path {home_path}; fastcgi_temp_path {home_path};
               uwsgi_temp_path {home_path}; scgi_temp_path {home_path};
               server {{
                 listen 127.0.0.1:{port} ssl http2;
                 ssl_certificate {}; ssl_certificate_key {home_path}/key.pem;
                 keepalive_requests 100;
                 location / {{ return 200 \"ok\"; }}
               }}
             }}",
            certificate.display()
        );
        std::fs::write(home.path().join("nginx.conf"), configuration).unwrap();
        // Where scripts/install-deps unpacks one, unless the system has one.
        let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/.local/nginx/usr/sbin");
        let path = format!("/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:{unpacked}");
        let child = Command::new("nginx")
            .args([
                "-c",
                &format!("{home_path}/nginx.conf"),
                "-p",
                &home_path.to_string(),
            ])
            .env("PATH", path)
            .stderr(Stdio::null())
            .spawn()
            .expect("`scripts/install-deps tests` brings nginx");
        Self {
            child,
            port,
            _home: home,
        }
    }
}

fn pem(kind: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_that_goes_away_after_100_requests_fails_none() {
    let count: usize = std::env::var("NGINX_EVENTS").map_or(2_000, |text| text.parse().unwrap());
    let files = tempfile::tempdir().unwrap();
    let certificate = files.path().join("certificate.pem");
    let nginx = Nginx::start(&certificate);
    let deployment = Deployment::create(&[("webhooks.ca_file", certificate.to_str().unwrap())]).await;
    let process = deployment.serve(&[]).await;
    let url = format!("https://127.0.0.1:{}/hook", nginx.port);
    // A webhook gets at most 600 goals a minute one by one.
    let sites = count.div_ceil(500);
    let site = |number: usize| format!("site-{}.example", number % sites);
    for number in 0..sites {
        let body = json!({"name": "goals", "url": url, "events": ["goal_completion"], "rate_limit_per_second": null});
        deployment.create_webhook(&process, &site(number), body).await;
    }
    deployment.registry_is_read(&process).await;
    for number in 0..count {
        deployment
            .publish(json!({"site_id": site(number), "type": "goal", "name": format!("goal {number}")}))
            .await;
    }
    eventually("every delivery has ended", TIMEOUT, || async {
        let ended: i64 =
            sqlx::query_scalar("select count(*) from deliveries where status in ('delivered', 'failed')")
                .fetch_one(&deployment.database.pool)
                .await
                .unwrap();
        (ended == count as i64).then_some(())
    })
    .await;
    let attempts: Vec<(String, i64)> =
        sqlx::query_as("select result, count(*) from delivery_attempts group by 1 order by 1")
            .fetch_all(&deployment.database.pool)
            .await
            .unwrap();
    println!("{count} events to nginx with HTTP/2: attempts {attempts:?}");
    assert_eq!(attempts, [("2xx".to_owned(), count as i64)]);
}
