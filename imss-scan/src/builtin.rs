//! The one list of built-in engines, in the order they run.

use imss_core::plan::ScanPlan;

use crate::auth::engine::AuthEngine;
use crate::content::attachment::AttachmentEngine;
use crate::content::gtube::GtubeEngine;
use crate::content::keywords::KeywordEngine;
use crate::content::message::MessageEngine;
use crate::engine::Engine;
use crate::malware::active::ActiveEngine;
use crate::malware::clamd::ClamdEngine;
use crate::malware::digests::DigestEngine;
use crate::malware::eicar::EicarEngine;
use crate::malware::icap::IcapEngine;
use crate::malware::packed::PackedEngine;
#[cfg(feature = "yara")]
use crate::malware::yara::YaraEngine;
use crate::mistake::{Mistake, PlanError};
use crate::reputation::dns_list::DnsListEngine;
use crate::scanner::Settings;

/// Sets up every engine that the plan and the settings have work for.
pub(crate) fn engines(
    plan: &ScanPlan,
    settings: Settings,
) -> Result<Vec<Box<dyn Engine>>, PlanError> {
    let mut mistakes: Vec<Mistake> = Vec::new();
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(EicarEngine::new(plan))];
    if !settings.digests.is_empty() {
        engines.push(Box::new(DigestEngine::new(plan, settings.digests)));
    }
    #[cfg(feature = "yara")]
    if !settings.yara.is_empty() {
        engines.push(Box::new(YaraEngine::new(plan, settings.yara)));
    }
    if settings.clamd {
        engines.push(Box::new(ClamdEngine::new(plan)));
    }
    if settings.icap {
        engines.push(Box::new(IcapEngine::new(plan)));
    }
    engines.push(Box::new(ActiveEngine::new(plan)));
    engines.push(Box::new(PackedEngine::new(plan)));
    engines.push(Box::new(AttachmentEngine::new(plan)));
    engines.push(Box::new(MessageEngine::new(plan, &mut mistakes)));
    if let Some(keywords) = KeywordEngine::new(plan, &mut mistakes) {
        engines.push(Box::new(keywords));
    }
    engines.push(Box::new(GtubeEngine::new(plan)));
    engines.push(Box::new(DnsListEngine::new(plan)));
    engines.push(Box::new(AuthEngine::new(plan, settings.auth)));
    if mistakes.is_empty() { Ok(engines) } else { Err(PlanError { mistakes }) }
}
