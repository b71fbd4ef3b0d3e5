//! Logins with web tokens.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;

/// What stands before the point of a P-256 key (RFC 5480).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The time of the test, in seconds.
const NOW_S: i64 = 1_767_225_600;

/// Somebody who says who is who.
struct Issuer(EcdsaKeyPair);

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref()).unwrap())
    }

    fn pem(&self) -> String {
        let der = [&P256[..], self.0.public_key().as_ref()].concat();
        let text = STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    fn sign(&self, claims: &Value) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","typ":"JWT"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn claims(name: &str) -> Value {
    json!({
        "iss": "us", "aud": "leno", "iat": NOW_S, "exp": NOW_S + 60,
        "app": name, "teams": ["ops", "web"],
    })
}

fn method(issuer: &Issuer) -> Value {
    json!({
        "Name": "ci", "Type": "jwt", "MaxTokenTTL": "1h",
        "Config": {
            "JWTValidationPubKeys": [issuer.pem()],
            "JWTSupportedAlgs": ["ES256"],
            "BoundIssuer": "us", "BoundAudiences": ["leno"],
            "ClaimMappings": {"app": "app"}, "ListClaimMappings": {"teams": "teams"},
        },
    })
}

fn world() -> (World, Issuer) {
    let mut world = guarded();
    let issuer = Issuer::new();
    let (status, made) =
        world.ask_as(MANAGER, "PUT", "/v1/acl/auth-method", &method(&issuer).to_string());
    assert_eq!((status, &made["MaxTokenTTL"]), (200, &json!("1h0m0s")), "{made}");
    (world, issuer)
}

/// Rules have ids from the fixture, which knows but one.
fn rule(world: &mut World, selector: &str, bind_type: &str, bind_name: &str) -> (u16, Value) {
    let body = json!({"AuthMethod": "ci", "Selector": selector, "BindType": bind_type, "BindName": bind_name});
    world.ask_as(MANAGER, "PUT", "/v1/acl/binding-rule", &body.to_string())
}

fn login(world: &mut World, bearer: &str) -> (u16, Value) {
    let body = json!({"AuthMethod": "ci", "BearerToken": bearer, "Meta": {"build": "7"}});
    world.ask_as("", "POST", "/v1/acl/login", &body.to_string())
}

#[test]
fn a_login_is_bound_by_the_rules_whose_selectors_fit_and_ends_by_logout() {
    let (mut world, issuer) = world();
    let denied = (403, json!("Permission denied"));
    assert_eq!(login(&mut world, &issuer.sign(&claims("web"))), denied, "no rule binds it");
    let (status, made) =
        rule(&mut world, "\"ops\" in list.teams and value.app != db", "service", "${value.app}");
    assert_eq!(status, 200, "{made}");
    assert_eq!(login(&mut world, &issuer.sign(&claims("db"))), denied, "no rule fits it");
    let (status, token) = login(&mut world, &issuer.sign(&claims("Web")));
    assert_eq!(status, 200, "{token}");
    assert_eq!(token["ServiceIdentities"], json!([{"ServiceName": "web"}]));
    assert_eq!(token["Description"], "token created via login: {\"build\":\"7\"}");
    assert_eq!((&token["AuthMethod"], &token["Local"]), (&json!("ci"), &json!(true)));
    assert_eq!(token["ExpirationTime"], "2026-01-01T01:00:00Z");
    let secret = token["SecretID"].as_str().unwrap().to_owned();
    assert_eq!(
        world.ask_as(&secret, "PUT", "/v1/agent/service/register", r#"{"Name":"web"}"#).0,
        200
    );
    assert_eq!(
        world.ask_as(&secret, "PUT", "/v1/agent/service/register", r#"{"Name":"db"}"#).0,
        403
    );
    let not_yours = (403, json!("Permission denied: token wasn't created via login"));
    assert_eq!(world.ask_as(MANAGER, "POST", "/v1/acl/logout", ""), not_yours);
    assert_eq!(world.ask_as("", "POST", "/v1/acl/logout", ""), (403, json!("ACL not found")));
    assert_eq!(world.ask_as(&secret, "POST", "/v1/acl/logout", ""), (200, json!(true)));
    assert_eq!(world.reply_to("GET", "/v1/acl/token/self", &secret).status(), 403);
}

#[test]
fn who_is_not_believed_gets_no_token() {
    let (mut world, issuer) = world();
    rule(&mut world, "", "service", "${value.app}");
    let late =
        json!({"iss": "us", "aud": "leno", "iat": NOW_S - 900, "exp": NOW_S - 600, "app": "web"});
    let other =
        json!({"iss": "them", "aud": "leno", "iat": NOW_S, "exp": NOW_S + 60, "app": "web"});
    for bearer in [
        Issuer::new().sign(&claims("web")),
        issuer.sign(&late),
        issuer.sign(&other),
        "nonsense".to_owned(),
        String::new(),
    ] {
        let (status, text) = login(&mut world, &bearer);
        let text = text.as_str().unwrap().to_owned();
        assert!(status == 403 && text.starts_with("Permission denied: "), "{status} {text}");
    }
    let (status, text) = login(&mut world, &issuer.sign(&claims("a b")));
    assert_eq!(status, 500, "{text}");
    let body = json!({"AuthMethod": "ci", "BearerToken": issuer.sign(&claims("web"))}).to_string();
    let (status, text) = world.ask_as(MANAGER, "POST", "/v1/acl/login", &body);
    assert_eq!((status, text), (500, json!("do not provide a token when logging in")));
    let body = json!({"AuthMethod": "nobody", "BearerToken": "x"}).to_string();
    assert_eq!(world.ask_as("", "POST", "/v1/acl/login", &body).0, 403);
}

#[test]
fn auth_methods_and_rules_that_cannot_work_are_refused() {
    let (mut world, issuer) = world();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut method = method(&issuer);
        method["Name"] = json!("other");
        change(&mut method);
        method
    };
    for (method, text) in [
        (with(&|it| it["Type"] = json!("x")), "Invalid Auth Method: unknown auth method type: x"),
        (
            with(&|it| it["Type"] = json!("oidc")),
            "Invalid Auth Method: type \"oidc\" is not supported by this version of Leno",
        ),
        (
            with(&|it| it["Config"]["JWTValidationPubKeys"] = json!([])),
            "Invalid Auth Method: 'JWTValidationPubKeys' must be set for type \"jwt\"",
        ),
        (
            with(&|it| it["Config"]["JWTValidationPubKeys"] = json!(["x"])),
            "Invalid Auth Method: JWTValidationPubKeys[0]: there is no PEM block \"PUBLIC KEY\" or \"CERTIFICATE\" in it",
        ),
        (
            with(&|it| it["Config"]["JWKSURL"] = json!("http://x")),
            "Invalid Auth Method: 'JWKSURL' is not supported by this version of Leno; give the keys themselves in 'JWTValidationPubKeys'",
        ),
        (
            with(&|it| it["Config"]["Bound"] = json!("x")),
            "Invalid Auth Method: Config has no field \"Bound\"",
        ),
        (
            with(&|it| it["MaxTokenTTL"] = json!("1s")),
            "MaxTokenTTL 1s cannot be less than 1m0s or more than 24h0m0s",
        ),
        (
            with(&|it| it["TokenLocality"] = json!("x")),
            "Invalid Auth Method: TokenLocality \"x\" is neither 'local' nor 'global'",
        ),
    ] {
        let answer = world.ask_as(MANAGER, "PUT", "/v1/acl/auth-method", &method.to_string());
        assert_eq!(answer, (500, json!(text)));
    }
    for (selector, bind_type, bind_name, text) in [
        ("value.app ==", "service", "x", "Invalid Binding Rule: Selector is invalid"),
        ("node == x", "service", "x", "Selector \"node\" is not valid"),
        ("", "service", "", "Invalid Binding Rule: no BindName is set"),
        ("", "planet", "x", "unknown binding rule bind type: planet"),
        ("", "service", "${value.other}", "invalid BindName"),
    ] {
        let (status, answer) = rule(&mut world, selector, bind_type, bind_name);
        let answer = answer.as_str().unwrap();
        assert!(status == 500 && answer.contains(text), "{answer}");
    }
    let kubernetes = json!({"Name": "k8s", "Type": "kubernetes", "Config": {"Host": "https://h", "CACert": "c", "ServiceAccountJWT": "j"}});
    assert_eq!(world.ask_as(MANAGER, "PUT", "/v1/acl/auth-method", &kubernetes.to_string()).0, 200);
    let body = json!({"AuthMethod": "k8s", "BearerToken": "x"}).to_string();
    let (status, text) = world.ask_as("", "POST", "/v1/acl/login", &body);
    assert!(status == 500 && text.as_str().unwrap().contains("cannot verify"), "{text}");
    let (_, listed) = world.ask_as(READER, "GET", "/v1/acl/auth-methods", "");
    assert_eq!((&listed[0]["Name"], &listed[0]["Config"]), (&json!("ci"), &Value::Null));
    assert_eq!(world.ask_as(MANAGER, "DELETE", "/v1/acl/auth-method/ci", ""), (200, json!(true)));
    assert_eq!(world.reply_to("GET", "/v1/acl/auth-method/ci", MANAGER).status(), 404);
}
