"""What only admins see."""

from flask import Flask
from flask.testing import FlaskClient

from tests import conftest, factories
from tests.factories import PASSWORD, Auth
from webapp import queue
from webapp.models import User, db
from webapp.settings import Settings


def test_an_admin_makes_a_person_who_can_then_log_in(app: Flask, client: FlaskClient, auth: Auth) -> None:
    auth.login("admin")
    fields = auth.form(email="New@Example.org", role="researcher", password=PASSWORD)
    assert "can log in now" in client.post("/admin/users", data=fields, follow_redirects=True).text
    Auth(app.test_client()).login(email="new@example.org")


def test_a_person_whom_there_is_already_is_refused_on_the_page(client: FlaskClient, auth: Auth) -> None:
    auth.login("admin")
    answer = client.post("/admin/users", data=auth.form(email="admin@example.org", role="viewer", password=PASSWORD))
    assert answer.status_code == 409
    assert "There is already a user admin@example.org." in answer.text


def test_an_admin_changes_role_admission_and_password(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        path = f"/admin/users/{factories.make_user('viewer').id}"
    auth.login("admin")
    for change in ({"role": "researcher"}, {"is_enabled": "no"}, {"is_enabled": "yes"}, {"password": "a new password"}):
        assert client.post(path, data=auth.form(**change)).location == path
    with app.app_context():
        person = db.session.get_one(User, int(path.rsplit("/", 1)[1]))
        assert (person.role, person.is_enabled) == ("researcher", True)
    fields = auth.form(email="viewer@example.org", password="a new password")
    assert app.test_client().post("/login", data=fields).status_code == 400  # another session's forgery token


def test_the_last_admin_stays_admin(client: FlaskClient, auth: Auth) -> None:
    user_id = auth.login("admin")
    answer = client.post(f"/admin/users/{user_id}", data=auth.form(role="viewer"))
    assert answer.status_code == 409
    assert "last admin" in answer.text


def test_an_empty_password_changes_nothing_and_says_so(client: FlaskClient, auth: Auth) -> None:
    user_id = auth.login("admin")
    assert client.post(f"/admin/users/{user_id}", data=auth.form(password="")).status_code == 422
    auth.login("admin")


def test_an_admin_revokes_anybodys_token(app: Flask, client: FlaskClient, auth: Auth) -> None:
    headers = auth.token()
    auth.login("admin")
    assert "researcher@example.org" in client.get("/admin/tokens").text
    client.post("/admin/tokens/1/revoke", data=auth.form())
    assert app.test_client().get("/api/v1/datasets", headers=headers).status_code == 401


def test_the_queue_page_shows_rows_and_jobs_that_wait(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        experiment = factories.make_experiment(name="Patient one")
        queue.ring(queue.TRAIN, experiment.id)
    auth.login("admin")
    html = client.get("/admin/queue").text
    assert "Patient one" in html
    assert "No worker is running" in html
    assert "Patient one" in client.get("/admin/queue/live").text


def test_the_queue_page_works_and_says_so_while_redis_is_away(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"})
    with conftest.application(away) as app:
        with app.app_context():
            factories.make_experiment(name="Patient one")
        auth = Auth(app.test_client())
        auth.login("admin")
        html = auth.client.get("/admin/queue").text
        assert "Redis does not answer" in html
        assert "Patient one" in html


def test_the_audit_trail_tells_who_did_what(client: FlaskClient, auth: Auth) -> None:
    auth.login("admin")
    client.post("/admin/users", data=auth.form(email="new@example.org", role="viewer", password=PASSWORD))
    html = client.get("/admin/audit").text
    assert "user.create" in html
    assert "role: viewer" in html
    assert "admin@example.org" in html
