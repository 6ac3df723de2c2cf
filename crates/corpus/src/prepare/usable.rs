//! Which utterances have audio that can be used, and how long they are.

use std::collections::HashSet;

use super::Part;
use crate::durations;
use crate::error::listed;

/// Drops utterances whose audio is missing, empty or, where a duration has to be looked up, unreadable, and
/// fills in the durations that are unknown.
pub(super) fn keep(parts: &mut [Part], probe: bool, left_out: &mut Vec<String>, warnings: &mut Vec<String>) {
    let unknown = parts.iter().flat_map(|(_, utterances)| utterances).filter(|utterance| utterance.duration.is_none());
    let probes = match probe {
        true => durations::probe_all(unknown),
        false => Default::default(),
    };
    let mut odd = Vec::new();
    let mut named = HashSet::new();
    for (_, utterances) in parts {
        utterances.retain_mut(|utterance| {
            let fault = match probes.get(&utterance.audio) {
                Some(Err(fault)) => Some(fault.to_string()),
                Some(Ok(found)) => {
                    if !found.warnings.is_empty() && named.insert(utterance.audio.clone()) {
                        let warnings: Vec<String> = found.warnings.iter().map(ToString::to_string).collect();
                        odd.push(format!("{}: {}", utterance.audio.display(), warnings.join(", ")));
                    }
                    let rest = found.duration - utterance.offset.unwrap_or(0.0);
                    utterance.duration = utterance.duration.or(Some(rest));
                    let ended = || format!("{} ends before `{}` starts", utterance.audio.display(), utterance.id);
                    (rest <= 0.0).then(ended)
                }
                None => durations::fault(&utterance.audio).map(|fault| fault.to_string()),
            };
            left_out.extend(fault.clone());
            fault.is_none()
        });
    }
    if !odd.is_empty() {
        warnings.push(format!("{} odd files: {}", odd.len(), listed(odd.iter().map(String::as_str), 20)));
    }
}
