use model::CheckDefinition;
use tokio::time::timeout;

use super::dial::{self, DialError};
use super::tls::Tls;
use super::{ProbeResult, TIMEOUT_DEFAULT, timeout_of};

/// Connects, with TLS if asked for, and closes.
pub(super) async fn probe(definition: &CheckDefinition, tls: &Tls) -> ProbeResult {
    let target = &definition.tcp;
    let limit = timeout_of(definition, TIMEOUT_DEFAULT);
    match timeout(limit, reach(definition, tls)).await {
        Ok(Ok(())) if definition.tcp_use_tls => {
            ProbeResult::passing(format!("TCP+TLS connect {target}: Success"))
        }
        Ok(Ok(())) => ProbeResult::passing(format!("TCP connect {target}: Success")),
        Ok(Err(error)) => ProbeResult::critical(error.to_string()),
        Err(_) => ProbeResult::critical(DialError::Timeout(target.clone()).to_string()),
    }
}

async fn reach(definition: &CheckDefinition, tls: &Tls) -> Result<(), DialError> {
    let (host, port) = dial::split_host_port("tcp", &definition.tcp)?;
    let stream = dial::connect(host, port).await?;
    if definition.tcp_use_tls {
        tls.connect(stream, host, definition, &[]).await?;
    }
    Ok(())
}
