use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use aws_lc_rs::{rsa, signature};
use rcgen::{CertificateParams, PublicKeyData};
use serde_json::json;

use super::*;

const CLAIMS: &str = r#"{"iss":"us","sub":"web"}"#;

fn unsigned(algorithm: &str) -> String {
    let header = json!({ "alg": algorithm, "typ": "JWT" }).to_string();
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(CLAIMS))
}

fn signed(algorithm: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let unsigned = unsigned(algorithm);
    let signature = sign(unsigned.as_bytes());
    format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A key in PEM, and a function that signs by an algorithm.
type Signer = (String, Box<dyn Fn(&[u8]) -> Vec<u8>>);

fn signer(algorithm: Algorithm) -> Signer {
    use Algorithm::*;
    let random = SystemRandom::new();
    let rsa = |encoding: &'static dyn signature::RsaEncoding| -> Signer {
        let key = RsaKeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let der = key.public_key();
        let der = aws_lc_rs::encoding::AsDer::as_der(der).unwrap();
        let pem = pem("PUBLIC KEY", der.as_ref());
        let random = SystemRandom::new();
        let sign = move |message: &[u8]| {
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign(encoding, &random, message, &mut signature).unwrap();
            signature
        };
        (pem, Box::new(sign))
    };
    let rcgen_algorithm = match algorithm {
        Rs256 => return rsa(&signature::RSA_PKCS1_SHA256),
        Rs384 => return rsa(&signature::RSA_PKCS1_SHA384),
        Rs512 => return rsa(&signature::RSA_PKCS1_SHA512),
        Ps256 => return rsa(&signature::RSA_PSS_SHA256),
        Ps384 => return rsa(&signature::RSA_PSS_SHA384),
        Ps512 => return rsa(&signature::RSA_PSS_SHA512),
        Es256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        Es384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        Es512 => &rcgen::PKCS_ECDSA_P521_SHA512,
        EdDsa => &rcgen::PKCS_ED25519,
    };
    let key = rcgen::KeyPair::generate_for(rcgen_algorithm).unwrap();
    let pem = pem("PUBLIC KEY", &key.subject_public_key_info());
    let pkcs8 = key.serialize_der();
    let fixed = match algorithm {
        Es256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        Es384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        Es512 => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        _ => {
            let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).unwrap();
            return (pem, Box::new(move |message| key.sign(message).as_ref().to_vec()));
        }
    };
    let key = EcdsaKeyPair::from_pkcs8(fixed, &pkcs8).unwrap();
    (pem, Box::new(move |message| key.sign(&random, message).unwrap().as_ref().to_vec()))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

#[test]
fn a_token_is_believed_when_a_known_key_signed_it_by_an_allowed_algorithm() {
    for algorithm in Algorithm::ALL {
        let (pem, sign) = signer(algorithm);
        let key = Key::from_pem(&pem).unwrap();
        let token = signed(algorithm.name(), &sign);
        let claims = verify(&token, std::slice::from_ref(&key), &[algorithm]).unwrap();
        assert_eq!(claims, json!({"iss": "us", "sub": "web"}), "{algorithm:?}");

        let others: Vec<_> = Algorithm::ALL.into_iter().filter(|it| *it != algorithm).collect();
        let refused = verify(&token, std::slice::from_ref(&key), &others);
        assert!(matches!(refused, Err(VerifyError::Algorithm(..))), "{algorithm:?}");

        let (other, _) = signer(algorithm);
        let other = Key::from_pem(&other).unwrap();
        assert_eq!(verify(&token, &[other], &[algorithm]), Err(VerifyError::Signature));

        // Another claim under the same signature.
        let parts: Vec<&str> = token.split('.').collect();
        let forged = URL_SAFE_NO_PAD.encode(r#"{"iss":"us","sub":"db"}"#);
        let forged = format!("{}.{forged}.{}", parts[0], parts[2]);
        assert_eq!(verify(&forged, &[key], &[algorithm]), Err(VerifyError::Signature));
    }
}

#[test]
fn the_key_of_a_certificate_counts() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = CertificateParams::new(vec!["us".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let pair =
        EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der());
    let pair = pair.unwrap();
    let sign = |message: &[u8]| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
    let token = signed("ES256", sign);
    let key = Key::from_pem(&certificate.pem()).unwrap();
    assert!(verify(&token, &[key], &[Algorithm::Es256]).is_ok());
}

#[test]
fn unsigned_tokens_and_what_is_no_token_are_refused() {
    let (pem, _) = signer(Algorithm::Es256);
    let keys = [Key::from_pem(&pem).unwrap()];
    for token in ["", "a.b", "a.b.c", "e30.e30.", "....", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
        let refused = verify(token, &keys, &Algorithm::ALL);
        assert!(matches!(refused, Err(VerifyError::Malformed(_))), "{token:.20}: {refused:?}");
    }
    for algorithm in ["none", "HS256", "es256"] {
        let token = format!("{}.", unsigned(algorithm));
        let refused = verify(&token, &keys, &Algorithm::ALL);
        assert!(matches!(refused, Err(VerifyError::Algorithm(..))), "{algorithm}: {refused:?}");
    }
    let token = format!("{}.", unsigned("ES256"));
    assert_eq!(verify(&token, &keys, &Algorithm::ALL), Err(VerifyError::Signature));
}

#[test]
fn what_is_no_public_key_is_refused() {
    let (good, _) = signer(Algorithm::Es256);
    for (text, expected) in [
        ("", KeyError::NotPem),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", KeyError::Kind),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", KeyError::Certificate),
        (&good.replace("PUBLIC", "PRIVATE"), KeyError::NotPem),
    ] {
        assert_eq!(Key::from_pem(text).err(), Some(expected), "{text}");
    }
}
