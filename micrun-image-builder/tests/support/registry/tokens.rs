//! A token service, as registries send their clients to.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};

use super::certificates::Certificates;
use super::script::{Reply, Request, Script};

/// What it changes for access tokens.
pub const REFRESH_TOKEN: &str = "refresh+me";

/// Gives whoever knows the password, or the refresh token, what they ask for; everybody else may pull.
pub fn start(certificates: Arc<Certificates>, user: &str, password: &str) -> Script {
    let basic = format!("Basic {}", Base64::encode_string(format!("{user}:{password}").as_bytes()));
    Script::start(move |request, _| {
        let (parameters, known) = match request.method.as_str() {
            "POST" => {
                let form = String::from_utf8(request.body.clone()).unwrap();
                let known = form.contains(&format!("refresh_token={}", REFRESH_TOKEN.replace('+', "%2B")));
                (form, known)
            }
            _ => (request.path.clone(), request.header("Authorization") == Some(&basic)),
        };
        if request.header("Authorization").is_some() && !known {
            return Reply::new(
                401,
                &[],
                br#"{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}"#,
            );
        }
        let scope = parameters.split(['?', '&']).find_map(|one| one.strip_prefix("scope=")).unwrap();
        let scope = scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
        let [kind, name, actions] = scope.split(':').collect::<Vec<_>>()[..] else { panic!("{scope}") };
        let actions: Vec<&str> = actions.split(',').filter(|action| known || *action == "pull").collect();
        let access = serde_json::json!([{"type": kind, "name": name, "actions": actions}]);
        let token = token(&certificates, &access);
        let body = serde_json::json!({ answer_name(request): token, "expires_in": 300 }).to_string();
        Reply::new(200, &[("Content-Type", "application/json")], body.as_bytes())
    })
}

/// Both names are in use.
fn answer_name(request: &Request) -> &'static str {
    if request.method == "POST" { "access_token" } else { "token" }
}

/// A JWT with the certificate that signs it, as docker-registry wants them.
fn token(certificates: &Certificates, access: &serde_json::Value) -> String {
    let pem = std::fs::read_to_string(certificates.path("cert.pem")).unwrap();
    let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = serde_json::json!({"typ": "JWT", "alg": "RS256", "x5c": [der]});
    let claims = serde_json::json!({
        "iss": "test-issuer", "sub": "me", "aud": "test-registry", "jti": "1",
        "iat": now, "nbf": now - 10, "exp": now + 300, "access": access,
    });
    let part = |value: &serde_json::Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let message = format!("{}.{}", part(&header), part(&claims));
    let signature = Base64UrlUnpadded::encode_string(&certificates.sign(message.as_bytes()));
    format!("{message}.{signature}")
}
