"""A CycloneDX 1.6 bill of materials for each repository, in JSON."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from flows._audit.answers import Answer
from flows._audit.inventory import Inventory
from flows._audit.package import Package

if TYPE_CHECKING:
    from cyclonedx.model.component import Component


def bill(inventory: Inventory, answer: Answer, licences: dict[Package, str | None], at: datetime) -> str:
    """The bill as JSON, checked against CycloneDX's own schema; raises ValueError if it is not valid."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    components = {one: _component(inventory, one, licences.get(one)) for one in inventory.packages}
    bom = Bom(components=components.values())
    bom.metadata.timestamp = at
    bom.metadata.component = Component(name=inventory.name, type=ComponentType.APPLICATION, bom_ref=inventory.name)
    bom.register_dependency(bom.metadata.component, components.values())
    for one, component in components.items():
        for vulnerability in _vulnerabilities(answer, one, component):
            bom.vulnerabilities.add(vulnerability)
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"the bill of materials of {inventory.name} is not valid CycloneDX: {error}")
    return text


def _component(inventory: Inventory, one: Package, licence: str | None) -> "Component":
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    return Component(
        type=ComponentType.LIBRARY,
        name=one.name,
        version=one.version,
        bom_ref=one.purl,
        purl=PackageURL.from_string(one.purl),
        licenses=[LicenseFactory().make_from_string(licence)] if licence else [],
        properties=[Property(name="horae:file", value=file) for file in inventory.packages[one]],
    )


def _vulnerabilities(answer: Answer, one: Package, component: "Component") -> Any:
    from cyclonedx.model import XsUri
    from cyclonedx.model.vulnerability import (
        BomTarget,
        Vulnerability,
        VulnerabilityAdvisory,
        VulnerabilityRating,
        VulnerabilitySeverity,
    )

    for advisory in answer.checked.get(one, ()):
        rating = VulnerabilityRating(severity=VulnerabilitySeverity(advisory.severity))
        yield Vulnerability(
            bom_ref=f"{one.purl}#{advisory.id}",
            id=advisory.id,
            description=advisory.summary,
            ratings=[rating],
            affects=[BomTarget(ref=component.bom_ref.value or one.purl)],
            advisories=[VulnerabilityAdvisory(url=XsUri(advisory.url))],
        )
