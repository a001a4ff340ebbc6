from dataclasses import asdict

from fastapi.testclient import TestClient

from credence.labels import DISCLAIMER, LABELS, MEANINGS, OUTCOMES, REASON_MEANINGS
from service.models.source import ServedModel


def test_the_model_route_tells_all_there_is_to_tell(client: TestClient, served_model: ServedModel) -> None:
    answer = client.get("/v1/model").json()
    assert answer["version"] == served_model.scorer.info.model_version
    assert answer["lineage"] == asdict(served_model.scorer.info)
    assert answer["calibration"] == served_model.calibration
    assert (answer["card"], answer["disclaimer"]) == (served_model.card, DISCLAIMER)


def test_labels_and_reasons_come_with_their_meanings(client: TestClient) -> None:
    answer = client.get("/v1/model").json()
    assert {row["name"]: row["meaning"] for row in answer["labels"]} == {label: MEANINGS[label] for label in LABELS}
    assert {row["name"]: row["meaning"] for row in answer["reasons"]} == REASON_MEANINGS
    assert answer["outcomes"] == list(OUTCOMES)
