//! `/v1/agent/host`: the machine, as its kernel describes it.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

/// Memory, processors, system and disk of this machine; what cannot be read is named in `Errors`. `now_ns` is the time of
/// the reading, in nanoseconds since the Unix epoch.
pub(crate) fn describe(now_ns: u64) -> Value {
    let mut errors = Vec::new();
    let mut read = |path: &str| match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            errors.push(json!(format!("{path}: {error}")));
            String::new()
        }
    };
    let memory = memory(&read("/proc/meminfo"));
    let processors = processors(&read("/proc/cpuinfo"));
    let uptime = read("/proc/uptime");
    let uptime_s = uptime.split('.').next().and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
    let word = |text: String| text.trim().to_owned();
    let host = json!({
        "hostname": word(read("/proc/sys/kernel/hostname")),
        "uptime": uptime_s,
        "bootTime": (now_ns / 1_000_000_000).saturating_sub(uptime_s),
        "os": std::env::consts::OS,
        "kernelVersion": word(read("/proc/sys/kernel/osrelease")),
        "kernelArch": std::env::consts::ARCH,
    });
    let disk = match rustix::fs::statvfs("/") {
        Ok(it) => json!({
            "path": "/",
            "total": it.f_blocks.saturating_mul(it.f_frsize),
            "free": it.f_bavail.saturating_mul(it.f_frsize),
            "used": it.f_blocks.saturating_sub(it.f_bfree).saturating_mul(it.f_frsize),
        }),
        Err(error) => {
            errors.push(json!(format!("/: {error}")));
            Value::Null
        }
    };
    json!({
        "Memory": memory,
        "CPU": processors,
        "Host": host,
        "Disk": disk,
        "CollectionTime": now_ns,
        "Errors": if errors.is_empty() { Value::Null } else { Value::Array(errors) },
    })
}

/// Bytes by kind.
fn memory(text: &str) -> Value {
    let bytes: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let kilobytes: u64 = rest.trim().trim_end_matches(" kB").parse().ok()?;
            Some((name, kilobytes.saturating_mul(1024)))
        })
        .collect();
    let of = |name: &str| bytes.get(name).copied().unwrap_or(0);
    let (total, available) = (of("MemTotal"), of("MemAvailable"));
    json!({
        "total": total,
        "available": available,
        "used": total.saturating_sub(available),
        "free": of("MemFree"),
        "buffers": of("Buffers"),
        "cached": of("Cached"),
    })
}

fn processors(text: &str) -> Value {
    let of = |block: &str, name: &str| {
        let line = block.lines().find(|it| it.split(':').next().map(str::trim) == Some(name));
        line.and_then(|it| it.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let blocks = text.split("\n\n").filter(|it| !it.trim().is_empty());
    blocks
        .zip(0_u32..)
        .map(|(block, at)| {
            json!({
                "cpu": at,
                "vendorId": of(block, "vendor_id"),
                "modelName": of(block, "model name"),
                "mhz": of(block, "cpu MHz").and_then(|it| it.parse::<f64>().ok()),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_processors_and_a_disk() {
        let host = describe(5_000_000_000_000_000_000);
        assert!(host["Memory"]["total"].as_u64() > Some(0), "{host}");
        assert!(!host["CPU"].as_array().unwrap().is_empty(), "{host}");
        assert!(host["Disk"]["total"].as_u64() > Some(0), "{host}");
        assert_eq!(
            (&host["CollectionTime"], &host["Errors"]),
            (&json!(5_000_000_000_000_000_000_u64), &Value::Null)
        );
    }
}
