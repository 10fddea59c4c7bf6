"""The web application: POST an address to /, GET /NAME to be sent there."""

import os

from flask import Flask, abort, redirect, request
from waitress import serve

from links.shortener import Shortener


def create_app():
    app = Flask(__name__)
    shortener = Shortener()

    @app.post("/")
    def shorten():
        try:
            return shortener.shorten(request.get_data(as_text=True).strip()) + "\n", 201
        except ValueError as problem:
            return f"{problem}\n", 400

    @app.get("/<name>")
    def follow(name):
        return redirect(shortener.address(name) or abort(404))

    return app


if __name__ == "__main__":
    serve(create_app(), listen=f"*:{os.environ.get('PORT', '8000')}")
